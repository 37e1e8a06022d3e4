# OpenAI's Python package against a running server: what applications call, streaming and not. Run by scripts/openai_sdk.
# Usage: openai_sdk.py BASE_URL KEY
import asyncio
import sys

import openai

base_url, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
model = client.models.list().data[0].id
ask = dict(model=model, messages=[{"role": "user", "content": "Name three colours."}], max_tokens=16, temperature=0)


def refused(kind, **fields):
    try:
        client.chat.completions.create(**(ask | fields))
    except kind as error:
        return error
    raise AssertionError(f"{fields}: expected {kind.__name__}")


def test_models():
    assert client.models.retrieve(model).id == model


def test_chat():
    answer = client.chat.completions.create(**ask)
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 16 and answer.choices[0].finish_reason in ("stop", "length")
    return answer.choices[0].message.content


def test_chat_stream():
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == test_chat()
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_helper():
    with client.chat.completions.stream(**ask) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == test_chat()


def test_choices():
    answer = client.chat.completions.create(**(ask | {"n": 3, "temperature": 1.5, "seed": 4}))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    again = client.chat.completions.create(**(ask | {"n": 3, "temperature": 1.5, "seed": 4}))
    assert [choice.message.content for choice in answer.choices] == [choice.message.content for choice in again.choices]


def test_logprobs():
    answer = client.chat.completions.create(**ask, logprobs=True, top_logprobs=5)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens or answer.choices[0].finish_reason == "stop"
    assert all(len(token.top_logprobs) == 5 and token.logprob <= 0 for token in tokens)
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == answer.choices[0].message.content


def test_completions():
    fields = dict(model=model, prompt="One, two, three,", max_tokens=8, temperature=0)
    whole = client.completions.create(**fields).choices[0].text
    assert "".join(chunk.choices[0].text for chunk in client.completions.create(**fields, stream=True)) == whole
    echo = client.completions.create(**fields, echo=True, logprobs=1).choices[0]
    assert echo.text == "One, two, three," + whole
    assert echo.logprobs.token_logprobs[0] is None and all(value <= 0 for value in echo.logprobs.token_logprobs[1:])
    assert "".join(echo.logprobs.tokens) == echo.text


def test_errors():
    assert refused(openai.BadRequestError, temperature=-1).param == "temperature"
    assert refused(openai.BadRequestError, messages=[]).param == "messages"
    long = refused(openai.BadRequestError, messages=[{"role": "user", "content": "word " * 20000}])
    assert long.code == "context_length_exceeded", long
    refused(openai.BadRequestError, messages=[{"role": "user", "content": "word " * 20000}], stream=True)
    try:
        openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0).models.list()
        raise AssertionError("a wrong key was taken")
    except openai.AuthenticationError:
        pass


def test_stop_early():
    stream = client.chat.completions.create(**(ask | {"max_tokens": 200}), stream=True)
    next(iter(stream))
    stream.close()  # the server cancels
    assert test_chat()


def test_async_clients_together():
    async def one(client, number):
        answer = await client.chat.completions.create(**(ask | {"seed": number, "max_tokens": 8}))
        return answer.choices[0].message.content

    async def many():
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            return await asyncio.gather(*(one(client, number) for number in range(8)))

    assert len(asyncio.run(many())) == 8


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print(name, "ok", flush=True)
