"""How a text is read and measured: its encoding, its language, its counts and keywords."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.packs.files import plain_reader
from tasks.packs.files.content import Keyword
from tasks.packs.files.encoding import decode
from tasks.packs.files.figure import figures
from tasks.packs.files.keyword_count import keywords
from tasks.packs.files.language import language
from tests.packs.support import analyze

TEXTS = {
    "zh": "后台任务系统把每一个任务先写进数据库，然后才回答客户。这样即使服务器突然断电，任务也不会丢失。",
    "zh short": "你好，世界。",
    "zh report": "文件分析报告：编码检测结果正确。",
    "zh technical": "API 文档：使用 POST /jobs 提交任务，返回 202。",
    "zh traditional": "後台任務系統把每一個任務先寫進資料庫，然後才回答客戶。",
    "ja": "これは日本語の文章です。文字コードの判定を試験するために書きました。カタカナも含みます。",
    "ja short": "本日の会議は中止になりました。",
    "ja kanji": "彼は大学で経済を学んでいる。",
    "ko": "이것은 한국어 문장입니다. 문자 인코딩을 시험하기 위해 작성했습니다.",
    "de": "Größe und Übung machen den Meister. Die Straße führt über die Brücke, schöne Grüße aus München.",
    "fr": "Les élèves ont été très étonnés : la forêt où ils étaient allés n’existait plus. Ça coûte cher, garçon !",
    "es": "El niño comió una manzana en el jardín mañana por la mañana. ¿Dónde está la estación? ¡Qué alegría!",
    "pl": "Zażółć gęślą jaźń. Wszystkie języki są ciekawe, również polski.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Dnes je krásný den a všichni jsou šťastní.",
    "tr": "Öğrenciler güneşli bir günde bahçede oynuyorlar. Şimdi ışıklar sönüyor, çok güzel.",
    "ru": "Это обычный русский текст, написанный для проверки определения кодировки символов.",
    "el": "Αυτό είναι ένα ελληνικό κείμενο για δοκιμή της κωδικοποίησης.",
    "ar": "هذا نص باللغة العربية كتب لاختبار ترميز الملف.",
    "th": "นี่คือข้อความภาษาไทยที่เขียนขึ้นเพื่อทดสอบการเข้ารหัส",
}


class TestEncoding:
    @pytest.mark.parametrize(
        ("text", "codec", "name"),
        [
            ("zh", "gb18030", "gb18030"),
            ("zh", "gb2312", "gb18030"),
            ("zh short", "gb18030", "gb18030"),
            ("zh report", "gbk", "gb18030"),
            ("zh technical", "gb18030", "gb18030"),
            ("zh traditional", "gb18030", "gb18030"),
            ("zh traditional", "big5", "big5"),
            ("ja", "shift_jis", "shift_jis"),
            ("ja", "euc_jp", "euc-jp"),
            ("ja", "iso2022_jp", "iso-2022-jp"),
            ("ja short", "shift_jis", "shift_jis"),
            ("ja short", "euc_jp", "euc-jp"),
            ("ja kanji", "euc_jp", "euc-jp"),
            ("ko", "euc_kr", "euc-kr"),
            ("de", "cp1252", "windows-1252"),
            ("fr", "cp1252", "windows-1252"),
            ("es", "latin-1", "windows-1252"),
            ("pl", "cp1250", "windows-1250"),
            ("cs", "cp1250", "windows-1250"),
            ("cs", "iso8859-2", "iso-8859-2"),
            ("tr", "cp1254", "windows-1254"),
            ("ru", "cp1251", "windows-1251"),
            ("ru", "koi8-r", "koi8-r"),
            ("ru", "cp866", "ibm866"),
            ("el", "cp1253", "windows-1253"),
            ("ar", "cp1256", "windows-1256"),
            ("th", "cp874", "windows-874"),
            ("zh", "utf-8", "utf-8"),
            ("fr", "utf-8-sig", "utf-8"),
            ("zh", "utf-16", "utf-16"),
            ("ja", "utf-32", "utf-32"),
            ("de", "utf-16-le", "utf-16-le"),
            ("de", "utf-16-be", "utf-16-be"),
        ],
    )
    @pytest.mark.parametrize("times", [1, 30])
    def test_a_text_is_read_as_it_was_written(self, text: str, codec: str, name: str, times: int) -> None:
        written = "\n".join([TEXTS[text]] * times)
        assert decode(written.encode(codec)) == (written, name)

    def test_plain_ascii_is_called_so(self) -> None:
        assert decode(b"plain words\n") == ("plain words\n", "ascii")

    def test_a_utf_8_text_cut_in_the_middle_of_a_character_stays_utf_8(self) -> None:
        data = (TEXTS["zh"] * 3).encode()[:-1]
        text, name = decode(data)
        assert name == "utf-8"
        assert text.endswith("\ufffd")

    def test_one_accent_at_the_end_of_a_long_ascii_text_is_found(self) -> None:
        text, name = decode(b"all plain here\n" * 20_000 + "und größer".encode("cp1252"))
        assert name == "windows-1252"
        assert text.endswith("größer")

    def test_a_page_is_believed_what_it_says_of_itself(self, root: Path) -> None:
        page = "<html><meta charset='gb2312'><title>標題</title><p>繁體 字"
        (root / "page").write_bytes(page.encode("gbk"))
        seen = analyze("page")
        assert (seen.encoding, seen.title) == ("gb18030", "標題")

    def test_a_page_is_not_believed_what_cannot_be_true(self, root: Path) -> None:
        (root / "page").write_bytes(f"<html><meta charset='utf-8'><p>{TEXTS['zh']}".encode("gb18030"))
        assert analyze("page").encoding == "gb18030"


class TestText:
    def test_an_empty_file_is_all_zeros(self, root: Path) -> None:
        (root / "empty").touch()
        seen = analyze("empty")
        assert (seen.size, seen.characters, seen.words, seen.lines, seen.sentences, seen.paragraphs) == (0,) * 6
        assert (seen.language, seen.keywords, seen.excerpt) == (None, [], "")

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("Don't count a well-known word twice.", 6),
            ("你好，世界", 4),
            ("用 Python 3 写", 4),
            ("ひらがなとABC", 6),
            ("한국어 문장", 2),
            ("हिन्दी भाषा", 2),
            ("...", 0),
        ],
    )
    def test_words_are_counted_as_a_word_processor_does(self, text: str, count: int) -> None:
        assert figures(text).words == count

    def test_sentences_end_in_every_script(self) -> None:
        assert figures("One. Two? “Three!” Version 1.5 is four... 五。六！七？").sentences == 7
        assert figures("no full stop").sentences == 1

    def test_paragraphs_are_parted_by_blank_lines(self) -> None:
        counts = figures("\n\none\nstill one\n \t\n\ntwo\r\n\r\nthree\n")
        assert (counts.paragraphs, counts.lines) == (3, 4)

    def test_a_text_of_a_few_words_has_no_language(self) -> None:
        assert language("ok, 42 :-)") is None
        assert language("你好世界很大很好") == "zh"

    def test_stop_words_are_no_keywords(self) -> None:
        found = keywords("Der Auftrag und die Aufträge und der Auftrag für das API", "de")
        assert found == [Keyword("auftrag", 2), Keyword("aufträge", 1), Keyword("api", 1)]

    def test_a_chinese_phrase_is_one_keyword_and_not_its_pieces(self) -> None:
        found = {keyword.word for keyword in keywords("消息队列很快。消息队列不丢失。一个消息队列。", "zh")}
        assert found == {"消息队列"}

    def test_a_katakana_word_is_one_keyword(self) -> None:
        assert keywords("データベースの設定、データベースの移行", "ja")[0] == Keyword("データベース", 2)

    def test_a_text_beyond_the_limit_says_that_it_was_cut(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plain_reader, "MAX_CHARACTERS", 500)
        (root / "long.txt").write_bytes(b"word " * 110)
        seen = analyze("long.txt")
        assert (seen.size, seen.characters, seen.words, seen.truncated) == (550, 500, 100, True)
