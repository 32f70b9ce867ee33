"""The small model answers, counts and streams: what the packs' tests lean on."""

from __future__ import annotations

import openai

from tests.support.model import MODEL


def test_a_real_model_answers_and_counts_tokens(model_url: str) -> None:
    with openai.OpenAI(base_url=model_url, api_key="any", max_retries=0) as client:
        completion = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "What is a river?"}], max_tokens=24, temperature=0
        )
        assert completion.model == MODEL
        assert completion.choices[0].message.content
        usage = completion.usage
        assert usage
        assert 0 < usage.completion_tokens <= 24
        assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens
        chunks = list(
            client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "What is a lake?"}],
                max_tokens=8,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert sum(bool(choice.delta.content) for chunk in chunks for choice in chunk.choices) > 1
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 8
