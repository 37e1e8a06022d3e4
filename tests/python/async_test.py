# AsyncMLCEngine: coroutines, streams, many at once, cancelled tasks, several event loops.
import asyncio
import unittest

import toy

from mlc_llm import AsyncMLCEngine, BadRequestError, EngineTerminatedError

ASK = {"messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 12, "temperature": 0}
LONG = ASK | {"max_tokens": 6000}


class AsyncEngineTest(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = AsyncMLCEngine(**toy.model())

    @classmethod
    def tearDownClass(cls):
        cls.engine.terminate()

    async def whole(self, **fields):
        answer = await self.engine.chat.completions.create(**(ASK | fields))
        return answer.choices[0].message.content

    async def streamed(self, **fields):
        chunks = await self.engine.chat.completions.create(**(ASK | fields), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def wait_until_idle(self):
        for _ in range(600):
            if (await self.engine.metrics())["requests_running"] == 0:
                return
            await asyncio.sleep(0.1)
        self.fail("requests still run after a minute")

    async def test_answers_and_streams(self):
        self.assertEqual(await self.streamed(), await self.whole())
        answer = await self.engine.completions.create(prompt="Once upon", max_tokens=8, temperature=0)
        stream = await self.engine.completions.create(prompt="Once upon", max_tokens=8, temperature=0, stream=True)
        self.assertEqual("".join([chunk.choices[0].text async for chunk in stream]), answer.choices[0].text)

    async def test_many_at_once(self):
        def fields(number):
            return {"messages": [{"role": "user", "content": f"Number {number}"}], "temperature": 1, "seed": number}

        alone = [await self.whole(**fields(i)) for i in range(16)]
        together = await asyncio.gather(*(self.streamed(**fields(i)) for i in range(16)))
        self.assertEqual(together, alone)

    async def test_the_loop_goes_on_meanwhile(self):
        count = 0

        async def tick():
            nonlocal count
            while True:
                count += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        await self.whole(max_tokens=500)
        ticking.cancel()
        self.assertGreater(count, 3)

    async def test_a_cancelled_task_ends_its_request(self):
        task = asyncio.create_task(self.whole(**LONG))
        while (await self.engine.metrics())["requests_running"] == 0:
            await asyncio.sleep(0.001)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.wait_until_idle()
        self.assertEqual(self.engine._core._calls, {})

    async def test_a_closed_or_dropped_stream_ends_its_request(self):
        stream = await self.engine.chat.completions.create(**LONG, stream=True)
        await anext(stream)
        await stream.aclose()
        await self.wait_until_idle()
        stream = await self.engine.chat.completions.create(**LONG, stream=True)
        del stream
        await self.wait_until_idle()
        self.assertEqual(self.engine._core._calls, {})

    async def test_abort(self):
        stream = await self.engine.chat.completions.create(**LONG, stream=True, request_id="mine")
        self.assertEqual((await anext(stream)).id, "mine")
        await self.engine.abort("mine")
        last = None
        async for last in stream:
            pass
        self.assertEqual(last.choices[0].finish_reason, "abort")

    async def test_errors(self):
        for stream in (False, True):
            with self.assertRaisesRegex(BadRequestError, "temperature: found -1") as caught:
                await self.engine.chat.completions.create(**(ASK | {"temperature": -1}), stream=stream)
            self.assertEqual(caught.exception.param, "temperature")
        self.assertEqual(self.engine._core._calls, {})

    def test_several_loops_in_turn(self):
        first = asyncio.run(self.whole())
        self.assertEqual(asyncio.run(self.whole()), first)

    async def test_terminate(self):
        async with AsyncMLCEngine(**toy.model()) as engine:
            stream = await engine.chat.completions.create(**LONG, stream=True)
            await anext(stream)
        last = None
        async for last in stream:
            pass
        self.assertEqual(last.choices[0].finish_reason, "abort")
        with self.assertRaises(EngineTerminatedError):
            await engine.chat.completions.create(**ASK)


if __name__ == "__main__":
    unittest.main()
