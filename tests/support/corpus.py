"""A small company's papers, one topic each, and questions in other words than theirs."""

from __future__ import annotations

ENGLISH = {
    "library": "The reading room opens at nine in the morning on weekdays. Books can be borrowed for four weeks.",
    "coffee": "Grind the beans finely and pour water of ninety degrees over them. An espresso takes thirty seconds.",
    "backup": "Every night the database is copied to a second data centre. To restore it, ask the operations team.",
    "passwords": "If you cannot log in, use the link on the sign-in page to choose a new password by e-mail.",
    "invoices": "Invoices are due within thirty days. After that we charge interest of five percent.",
    "garden": "Tomatoes want sun and water every evening. Cut the lower leaves so that the fruit ripens sooner.",
    "fire": "When the alarm sounds, leave the building by the stairs and gather in the car park. Never use the lift.",
    "train": "The express to the coast leaves from platform two every hour and takes fifty minutes.",
    "dogs": "Puppies need a vaccination at eight weeks. Take your dog to the vet once a year.",
    "moon": "The moon goes round the earth in twenty-seven days; its pull makes the tides of the sea.",
    "recycling": "Glass and paper go into the green bins, which are emptied on Tuesdays. Batteries go to the shop.",
    "football": "Our team won the cup final by three goals to one. The captain scored twice in the second half.",
}
CHINESE = {
    "年假": "员工每年享有二十五天带薪休假，未休完的天数可以顺延到次年三月底。",
    "报销": "出差的交通费和住宿费凭发票报销，须在返回后十四天内提交申请。",
    "空调": "夏季办公室温度设定为二十六度，离开时请关闭制冷设备以节约用电。",
    "火锅": "先把牛油和辣椒炒香，加入高汤煮沸，再放入羊肉、豆腐和青菜涮熟。",
    "地铁": "二号线从机场开往火车站，每五分钟一班，末班车晚上十一点发车。",
    "太极": "练习太极拳时动作要缓慢柔和，呼吸要自然，每天清晨练半小时对身体有益。",
    "退货": "商品签收后七天内可以无理由退回，运费由买家承担，退款三个工作日到账。",
    "长城": "长城始建于两千多年前，是古代为了防御北方游牧民族而修筑的军事工程。",
    "感冒": "如果发烧咳嗽，应多喝水、多休息，体温超过三十八度五时要去医院看医生。",
    "服务器": "系统每晚两点自动备份数据库，出现故障时请联系运维工程师恢复数据。",
    "熊猫": "大熊猫生活在四川的竹林里，每天要吃十几公斤的竹子。",
    "钢琴": "初学者每天应练琴三十分钟，先学音阶和指法，再弹简单的曲子。",
}
#: A question, and the document that answers it.
QUESTIONS = [
    ("When can I go in and read?", "library"),
    ("How hot should the water for brewing be?", "coffee"),
    ("Who can bring back lost data?", "backup"),
    ("I forgot how to sign in to my account", "passwords"),
    ("How long do I have to pay a bill?", "invoices"),
    ("How do I grow vegetables?", "garden"),
    ("What must I do if the building is burning?", "fire"),
    ("How do I travel to the seaside?", "train"),
    ("When does a young pet get its shots?", "dogs"),
    ("Why does the ocean rise and fall?", "moon"),
    ("Where do I throw away old bottles?", "recycling"),
    ("What was the result of the match?", "football"),
    ("我一年可以休息几天？", "年假"),
    ("出差的费用怎么申请？", "报销"),
    ("天气热的时候房间里应该多少度？", "空调"),
    ("怎么做四川的辣味晚餐？", "火锅"),
    ("从机场怎么坐车去火车站？", "地铁"),
    ("哪种运动适合早上慢慢做？", "太极"),
    ("买的东西不喜欢怎么办？", "退货"),
    ("古人为什么修建城墙？", "长城"),
    ("身体不舒服发热了怎么办？", "感冒"),
    ("数据丢失了找谁？", "服务器"),
    ("哪种动物喜欢吃竹子？", "熊猫"),
    ("怎样学习乐器？", "钢琴"),
]
