"""The task `generate_ai_response`: a question goes to the model, its answer comes back as it is spoken."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Annotated, Any

from msgspec import Meta, Struct

from tasks import BaseTaskWithRetry, Context, task
from tasks.clients import chat
from tasks.errors import FatalError, printable
from tasks.packs.assistant import conversation
from tasks.packs.assistant.conversation import Question, Spoken
from tasks.packs.assistant.pack import ASSISTANT
from tasks.packs.assistant.tables import ID_LENGTH

#: Seconds between two lines of what is being said, and the characters that one holds at most.
_BREATH = 0.2
_LINE = 4_000
#: Of a question or an answer, in characters.
MAX_TEXT = 200_000

#: It stands in the address of its conversation.
Id = Annotated[str, Meta(min_length=1, max_length=ID_LENGTH, pattern=r"^[^/\x00-\x1f\x7f]+$(?!\n)")] | int


class Tokens(Struct, frozen=True, kw_only=True):
    """As the endpoint counts them; None where it does not."""

    total: int | None
    prompt: int | None
    completion: int | None


class Response(Struct, frozen=True, kw_only=True):
    """`cost` in the currency of the deployment's prices, None without them."""

    conversation_id: str | int
    response: str
    tokens: Tokens
    cost: float | None
    model: str | None


@task(
    name="generate_ai_response",
    queue="ai_high_priority",
    base=BaseTaskWithRetry,
    bind=True,
    rate_limit="10/m",
    priority=9,
    needs=lambda: ASSISTANT.lacks("assistant_chat_url", "assistant_chat_model"),
)
async def generate_ai_response(
    context: Context,
    conversation_id: Id,
    user_message: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)],
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7,
    user_id: Id | None = None,
) -> Response:
    """Answer a message of a conversation, with what was said in it before; the answer streams into the job's log."""
    spoken = await conversation.answered(context.idempotency_key)
    if spoken is None:
        question = Question(
            job_id=context.idempotency_key,
            conversation_id=str(conversation_id),
            user_id=None if user_id is None else str(user_id),
            content=printable(user_message, MAX_TEXT),
        )
        async with conversation.turn(context, question, ASSISTANT.settings.assistant_history) as before:
            answer = await _speak(context, _messages(before, question), temperature)
            spoken = await conversation.write(question, _kept(answer))
    return _response(conversation_id, spoken)


class _Voice:
    """Gathers what is being said into lines of the job's log; put together they are the text."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pieces: list[str] = []
        self._told_at = time.monotonic()
        self._length = 0

    def say(self, text: str) -> None:
        """Raises as `context.check` does."""
        self._pieces.append(text)
        if time.monotonic() - self._told_at >= _BREATH:
            self.tell()

    def tell(self) -> None:
        text, self._pieces, self._told_at = "".join(self._pieces), [], time.monotonic()
        for start in range(0, len(text), _LINE):
            self._context.log(text[start : start + _LINE])
        self._length += len(text)
        self._context.progress(self._length, message=f"{self._length} characters")


async def _speak(context: Context, messages: list[dict[str, str]], temperature: float) -> chat.Answer:
    settings, voice = ASSISTANT.settings, _Voice(context)
    options: dict[str, Any] = {"temperature": temperature, "max_tokens": settings.assistant_max_tokens}
    async with aclosing(chat.stream(settings.endpoint, messages, **options)) as parts:
        async for part in parts:
            if isinstance(part, chat.Answer):
                voice.tell()
                return part
            voice.say(part.text)
    raise AssertionError("a stream ends with its answer")


def _messages(before: list[dict[str, str]], question: Question) -> list[dict[str, str]]:
    prompt = ASSISTANT.settings.assistant_prompt
    first = [{"role": "system", "content": prompt}] if prompt else []
    return [*first, *before, {"role": "user", "content": question.content}]


def _kept(answer: chat.Answer) -> Spoken:
    if not answer.text:
        raise FatalError(f"the model said nothing (it ended with {answer.finish!r})")
    usage = answer.usage
    return Spoken(
        content=printable(answer.text, MAX_TEXT),
        model=answer.model[:200] or None,
        prompt_tokens=None if usage is None else usage.prompt,
        completion_tokens=None if usage is None else usage.completion,
        total_tokens=None if usage is None else usage.total,
        cost=ASSISTANT.settings.cost(usage),
    )


def _response(conversation_id: str | int, spoken: Spoken) -> Response:
    return Response(
        conversation_id=conversation_id,
        response=spoken.content,
        tokens=Tokens(total=spoken.total_tokens, prompt=spoken.prompt_tokens, completion=spoken.completion_tokens),
        cost=spoken.cost,
        model=spoken.model,
    )
