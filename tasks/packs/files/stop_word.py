"""Words that say nothing about a text's subject, for the main languages; lower case, none of one or two letters."""

from __future__ import annotations

from typing import Final

#: Ideographs that hold Chinese sentences together: phrases end before them. Those that are also part of many nouns
#: (中 in 中国, 会 in 会议) are not among them.
FUNCTION_CHARACTERS: Final = (
    "的了是在和有不这這那就也都而及与與或被把们們我你他她它吗嗎呢吧啊着著很将將从從并並但所以每个個之其让讓"
)

_EN = """
about above after again against all also although always among and another any are aren't around because been before
being below between both but can can't cannot could couldn't did didn't does doesn't doing don't down during each
either else even every few first for from further had has have haven't having her here hers him his how however i'll
i'm i've into isn't it's its itself just let's like made make makes many may might more most much must neither never
not nothing now off often once one only onto other others our ours out over own per rather same second shall she
should since some such than that that's the their theirs them themselves then there there's these they they're this
those though three through thus too two under until upon use used very was wasn't were what when where whether which
while who whole whom whose why will with within without won't would yet you you're your yours
"""
_DE = """
aber alle allem allen aller alles als also andere anderen anderer anderes auch auf aus bei beim bereits bis bisher
brauche braucht damit dann daran darf das dass davon dazu dein deine dem den denen denn der deren des deshalb dessen
die dies diese diesem diesen dieser dieses doch dort durch ein eine einem einen einer eines einige einmal erst etwa
etwas euer eure für ganz gegen gibt hab habe haben hat hatte hatten hier hinter ich ihm ihn ihnen ihr ihre ihrem ihren
ihrer immer ins ist jede jedem jeden jeder jedes jene jetzt kann kein keine keinem keinen keiner können könnte machen
man manche mehr mein meine mich mir mit muss müssen nach nicht nichts noch nun nur oben oder ohne sehr sein seine
seinem seinen seiner seit selbst sich sie sind sobald soll sollte sondern sonst und uns unser unsere unter viel viele
vom von vor wann war waren warum was weg weil weiter welche welcher wenn wer werde werden wie wieder will wir wird
wirst wohl wollen wurde wurden während zum zur zwar zwei zwischen über
"""
_FR = """
afin ainsi alors après aucun aucune aussi autre autres aux avait avant avec avoir avons bien c'est car cela celle
celles celui ces cet cette ceux chaque chez comme d'un d'une dans depuis des deux doit donc dont elle elles encore
entre est eux faire fait faut furent ici ils jusque les leur leurs lors lui mais mes moins mon même mêmes n'est nos
notre nous ont par parce pas pendant peu peut peuvent plus pour pourquoi qu'elle qu'il qu'ils qu'on qu'un qu'une quand
que quel quelle quelles quels qui s'est sans sera ses son sont sous sur tandis tant tes toi ton tous tout toute toutes
trop très une vers voici vos votre vous étaient était étant été être
"""
_ES = """
además algo alguna algunas alguno algunos algún ante antes aquel aquella así aunque aún cada casi como con contra cual
cuando cuál cuándo del desde donde dos durante dónde ella ellas ellos entonces entre era eran eres esa esas ese eso
esos esta estaba estar estas este esto estos está están fue fueron gran había hace hacer hacia han hasta hay incluso
las les los mediante menos mientras mis mismo mucho muchos muy más nada nos nosotros nuestra nuestro nunca otra otras
otro otros para pero poco por porque puede pueden pues que quien quién qué sea según ser sido siempre sin sino sobre
son soy sus también tan tanto tenía tiene tienen toda todas todo todos tras una unas uno unos usted
"""
_IT = """
agli alla alle allo altra altre altri altro anche ancora avere aveva avevano che chi ciò come con contro cosa così cui
dagli dai dal dalla dalle dallo degli dei del della delle dello dentro deve dopo dove due era erano essere fare fino
fra già gli hanno invece lei loro lui mai mentre mia mio molti molto negli nei nel nella nelle nello noi non nostra
nostro ogni oltre ora per perché però più poco poi prima può qual quale quando quanto quasi quella quelle quelli
quello questa queste questi questo qui quindi sarà sempre senz' senza sia siamo solo sono sopra sotto stata state
stati stato sua sue sugli sui sul sulla sulle suo suoi tra tutta tutte tutti tutto una uno verso voi vostra vostro
"""
_PT = """
ainda algo alguma algumas alguns além ante antes após aquela aquele aqui assim até bem cada com como contra cuja cujo
das dela dele deles depois desde dessa desse desta deste dos duas durante ela elas ele eles embora enquanto entre era
eram essa essas esse esses esta estar estas estava este estes está estão foi foram fosse havia isso isto mais mas
mediante menos mesma mesmo meu minha muita muito muitos nada nas nem nenhum nesta neste nos nossa nosso num numa nunca
nós onde ora outra outras outro outros para pela pelas pelo pelos pode podem pois por porque porém pouco qual quando
quanto que quem sem sempre sendo ser será seu seus sob sobre sua suas também tanto tem tinha toda todas todo todos
três têm uma umas uns você vocês
"""
_NL = """
aan achter alle alleen alles als altijd ander andere bij daar dan dat deze die dit doch doen door dus een eens elk
elke even geen geweest had hadden heb hebben heeft het hier hij hoe hun iemand iets kan kon kunnen maar meer men met
mij mijn moet moeten naar niet niets nog omdat ons onze ook over reeds tegen toch toen tot tussen uit van veel voor
want waren was wat weer wel werd werden wie wij wil worden wordt zal zelf zich zij zijn zonder zou zouden
"""
_RU = """
без более больше будет будут был была были было быть вам вас весь вот все всегда всего всех где даже для его если есть
еще ещё зачем здесь или именно иногда как какая какой когда которая которого которой котором которую которые который
которых кто куда либо между меня мне много может можно мой моя над надо нам нас него нее ней некоторые нет нибудь ними
них ничего однако она они оно опять очень под пока после потом потому почти при про раз разве сам своей своих свой
свою себе себя сейчас так также такие такой там тебя тем теперь тогда того тоже той только том тот тут уже хотя чего
чей чем через что чтобы чуть эта эти этих это этого этой этом этот эту
"""  # noqa: RUF001 - Cyrillic is meant

#: By ISO 639 code.
STOP_WORDS: Final = {
    code: frozenset(words.split())
    for code, words in (
        ("en", _EN),
        ("de", _DE),
        ("fr", _FR),
        ("es", _ES),
        ("it", _IT),
        ("pt", _PT),
        ("nl", _NL),
        ("ru", _RU),
    )
}
