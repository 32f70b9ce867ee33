"""Answer engines for tests: real retrieval over a small corpus, in the vendors' own protocols."""

from tests.support.answers.corpus import PAGES, search
from tests.support.answers.server import AnswerEngines, answer_engines
from tests.support.answers.wire import Call, Switch

__all__ = ["PAGES", "AnswerEngines", "Call", "Switch", "answer_engines", "search"]
