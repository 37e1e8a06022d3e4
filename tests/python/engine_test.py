# MLCEngine: answers, streams, many at once, errors, abort, the end.
import gc
import json
import random
import threading
import time
import unittest

import toy

import mlc_llm
from mlc_llm import BadRequestError, CommandError, EngineConfig, EngineError, EngineTerminatedError, MLCEngine
from mlc_llm.protocol import openai_api_protocol as protocol

ASK = {"messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 12, "temperature": 0}
LONG = ASK | {"max_tokens": 6000}


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


class EngineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = MLCEngine(**toy.model())

    @classmethod
    def tearDownClass(cls):
        cls.engine.terminate()

    def wait_until_idle(self):
        for _ in range(600):
            if self.engine.metrics()["requests_running"] == 0:
                return
            time.sleep(0.1)
        self.fail("requests still run after a minute")

    def test_answers_a_chat(self):
        answer = self.engine.chat.completions.create(**ASK)
        self.assertIsInstance(answer, protocol.ChatCompletionResponse)
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 12)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + 12)
        self.assertEqual(answer.model_dump()["choices"][0]["message"]["content"], answer.choices[0].message.content)
        self.assertEqual(json.loads(answer.model_dump_json())["id"], answer.id)
        self.assertIn("ChatCompletionResponse(id='chatcmpl-", repr(answer))
        self.assertEqual(answer["choices"][0].get("index"), 0)

    def test_streams_the_same_text(self):
        chunks = list(self.engine.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
        self.assertEqual(text_of(chunks), self.engine.chat.completions.create(**ASK).choices[0].message.content)
        self.assertIsInstance(chunks[0], protocol.ChatCompletionStreamResponse)
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)
        self.assertEqual(chunks[-1].usage.completion_tokens, 12)

    def test_takes_a_history_with_its_own_messages(self):
        first = self.engine.chat.completions.create(**ASK)
        history = [*ASK["messages"], first.choices[0].message, {"role": "user", "content": "And now four."}]
        again = self.engine.chat.completions.create(**(ASK | {"messages": history}))
        self.assertGreater(again.usage.prompt_tokens, first.usage.prompt_tokens + 12)

    def test_completes_texts_and_tokens(self):
        whole = self.engine.completions.create(prompt="Once upon", max_tokens=8, temperature=0, logprobs=2)
        self.assertIsInstance(whole, protocol.CompletionResponse)
        self.assertEqual(len(whole.choices[0].logprobs.tokens), 8)
        stream = self.engine.completions.create(prompt="Once upon", max_tokens=8, temperature=0, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in stream), whole.choices[0].text)
        several = self.engine.completions.create(prompt=[[5, 6, 7], [8, 9]], max_tokens=4, n=2, seed=3)
        self.assertEqual([choice.index for choice in several.choices], [0, 1, 2, 3])

    def test_logprobs_of_a_chat(self):
        answer = self.engine.chat.completions.create(**ASK, logprobs=True, top_logprobs=3)
        content = answer.choices[0].logprobs.content
        self.assertTrue(all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in content))
        self.assertAlmostEqual(content[0].logprob, content[0].top_logprobs[0].logprob, places=5)

    def test_threads_get_their_own_answers(self):
        def ask(number):
            return ASK | {"messages": [{"role": "user", "content": f"Number {number}"}], "temperature": 1, "seed": number}

        alone = [self.engine.chat.completions.create(**ask(i)).choices[0].message.content for i in range(8)]
        self.assertGreater(len(set(alone)), 1)
        together = [None] * 8

        def work(i):
            together[i] = text_of(self.engine.chat.completions.create(**ask(i), stream=True))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)

    def test_mixed_requests_lose_nothing(self):
        """Answers, streams left early, aborted ones and refused ones from eight threads: each answer is what it is alone."""
        def ask(number):
            return ASK | {"messages": [{"role": "user", "content": f"Number {number}"}], "max_tokens": 8 + number}

        alone = [self.engine.chat.completions.create(**ask(i)).choices[0].message.content for i in range(8)]
        wrong = []

        def one(random, name):
            number, kind = random.randrange(8), random.randrange(4)
            if kind == 0:
                text = text_of(self.engine.chat.completions.create(**ask(number), stream=True))
                if text != alone[number]:
                    wrong.append((text, alone[number]))
            elif kind == 3:
                with self.assertRaises(BadRequestError):
                    self.engine.chat.completions.create(**ask(number), n=0)
            else:
                stream = self.engine.chat.completions.create(**LONG, stream=True, request_id=name)
                next(stream)
                if kind == 1:
                    self.engine.abort(name)
                    if list(stream)[-1].choices[0].finish_reason != "abort":
                        wrong.append(name)

        def work(seed):
            generator = random.Random(seed)
            try:
                for i in range(25):
                    one(generator, f"{seed}-{i}")
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        gc.collect()
        self.wait_until_idle()
        self.assertEqual(self.engine._core._calls, {})

    def test_a_wait_lets_other_threads_run(self):
        count = 0
        done = threading.Event()

        def tick():
            nonlocal count
            while not done.is_set():
                count += 1
                time.sleep(0.001)

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        self.engine.chat.completions.create(**(ASK | {"max_tokens": 1000}))
        done.set()
        thread.join()
        self.assertGreater(count, 3)

    def test_abort_ends_a_stream(self):
        stream = self.engine.chat.completions.create(**LONG, stream=True, request_id="mine")
        self.assertEqual(next(stream).id, "mine")
        self.engine.abort("mine")
        *_, last = stream
        self.assertEqual(last.choices[0].finish_reason, "abort")
        self.assertEqual(self.engine._core._calls, {})

    def test_abort_from_another_thread_ends_a_wait(self):
        threading.Timer(0.2, self.engine.abort, ("other",)).start()
        answer = self.engine.chat.completions.create(**LONG, request_id="other")
        self.assertEqual(answer.choices[0].finish_reason, "abort")

    def test_a_dropped_stream_ends_its_request(self):
        stream = self.engine.chat.completions.create(**LONG, stream=True)
        next(stream)
        self.assertEqual(self.engine.metrics()["requests_running"], 1)
        del stream
        gc.collect()
        self.wait_until_idle()
        with self.engine.chat.completions.create(**LONG, stream=True) as stream:
            next(stream)
        self.assertEqual(list(stream), [])
        self.wait_until_idle()
        self.assertEqual(self.engine._core._calls, {})

    def refused(self, sentence, **fields):
        for stream in (False, True):
            with self.assertRaises(BadRequestError) as caught:
                self.engine.chat.completions.create(**(ASK | fields), stream=stream)
            self.assertIn(sentence, str(caught.exception))
        self.assertEqual(caught.exception.status, 400)
        return caught.exception

    def test_refuses_in_one_sentence(self):
        self.assertEqual(self.refused("temperature: found -1", temperature=-1).param, "temperature")
        self.refused("messages", messages=[])
        self.refused("temperature", temperature=float("nan"))
        self.refused("messages", messages=[{"role": "user", "content": object()}])
        long = self.refused("tokens in total, larger than the model input length limit",
                            messages=[{"role": "user", "content": "word " * 9000}])
        self.assertEqual(long.code, "context_length_exceeded")
        self.assertIsInstance(long, ValueError)
        with self.assertRaisesRegex(TypeError, "unexpected argument 'max_token'; did you mean max_tokens"):
            self.engine.chat.completions.create(**ASK, max_token=3)
        with self.assertRaises(TypeError):
            self.engine.completions.create(max_tokens=3)

    def test_extra_body(self):
        answer = self.engine.chat.completions.create(**ASK, extra_body={"debug_config": {"ignore_eos": True}, "top_k": 1})
        self.assertEqual(answer.usage.completion_tokens, 12)
        with self.assertRaisesRegex(BadRequestError, "debug_config.ignore_eos"):
            self.engine.chat.completions.create(**ASK, extra_body={"debug_config": {"ignore_eos": 3}})
        with self.assertRaisesRegex(TypeError, "found stream in extra_body"):
            self.engine.chat.completions.create(**ASK, extra_body={"stream": True})

    def test_metrics_and_reset(self):
        before = self.engine.metrics()["completion_tokens_sum"]
        self.engine.chat.completions.create(**ASK)
        metrics = self.engine.metrics()
        self.assertEqual(metrics["completion_tokens_sum"], before + 12)
        self.assertEqual(metrics.metrics["last_finished_request"]["completion_tokens"], 12)
        self.assertIn("completion_tokens_sum\t", metrics.prometheus_text())
        kept = self.engine.chat.completions.create(**ASK).model_dump()["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.assertGreater(kept, 0)
        self.engine.reset()
        again = self.engine.chat.completions.create(**ASK).model_dump()["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.assertEqual(again, 0)

    def test_says_what_it_was_opened_with(self):
        config = self.engine.engine_config
        self.assertEqual((config.max_num_sequence, config.max_single_sequence_length), (4, toy.CONTEXT))
        self.assertEqual(self.engine.default_generation_config.temperature, 1.0)


class LifeTest(unittest.TestCase):
    def test_terminate_ends_what_runs(self):
        with MLCEngine(**toy.model()) as engine:
            stream = engine.chat.completions.create(**LONG, stream=True)
            next(stream)
        *_, last = stream
        self.assertEqual(last.choices[0].finish_reason, "abort")
        engine.terminate()
        for use in (lambda: engine.chat.completions.create(**ASK), engine.metrics, engine.reset):
            with self.assertRaisesRegex(EngineTerminatedError, "the engine has been terminated"):
                use()

    def test_terminate_ends_waits_of_other_threads(self):
        engine, reasons = MLCEngine(**toy.model()), []

        def work():
            try:
                while True:
                    reasons.append(engine.chat.completions.create(**LONG).choices[0].finish_reason)
            except EngineTerminatedError:
                reasons.append("terminated")
            except EngineError as error:  # it came while the engine was ending
                reasons.append("terminated" if "shutting down" in str(error) else error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        while engine.metrics()["requests_running"] == 0:
            time.sleep(0.001)
        engine.terminate()
        for thread in threads:
            thread.join()
        self.assertEqual(reasons.count("terminated"), 6, reasons)
        self.assertLessEqual(set(reasons), {"terminated", "abort", "length"})

    def test_a_stream_keeps_its_engine(self):
        stream = MLCEngine(**toy.model()).chat.completions.create(**ASK, stream=True)
        gc.collect()
        self.assertEqual(list(stream)[-1].choices[0].finish_reason, "length")

    def test_config_and_mode(self):
        config = EngineConfig(max_num_sequence=2, max_single_sequence_length=512, max_total_sequence_length=700, verbose=False)
        with MLCEngine(**(toy.model() | {"engine_config": config}), mode="server") as engine:
            self.assertEqual(engine.engine_config.max_num_sequence, 2)
            self.assertEqual(engine.engine_config.max_single_sequence_length, 512)
            self.assertEqual(engine.engine_config.max_total_sequence_length, 700)
        with MLCEngine(**(toy.model() | {"engine_config": {"speculative_mode": "ngram", "verbose": False}})) as engine:
            self.assertEqual(engine.chat.completions.create(**ASK).usage.completion_tokens, 12)
        config = {"speculative_mode": "small_draft", "spec_draft_length": 4, "verbose": False,
                  "additional_models": [[toy.converted(), toy.library()]]}
        with MLCEngine(**toy.model()) as plain, MLCEngine(**(toy.model() | {"engine_config": config})) as engine:
            answers = [e.chat.completions.create(**ASK).choices[0].message.content for e in (plain, engine)]
            self.assertEqual(*answers)
            self.assertGreater(engine.metrics()["spec_decode"]["accept_count"], 0)
        with MLCEngine(**toy.model(), mode="interactive") as engine:
            self.assertEqual(engine.engine_config.max_num_sequence, 1)

    def test_two_models(self):
        config = {"additional_models": [[toy.checkpoint().parent / "again", toy.library()]], "verbose": False}
        (toy.FOLDER / "again").symlink_to(toy.converted())
        with MLCEngine(**(toy.model() | {"engine_config": config})) as engine:
            answers = [engine.chat.completions.create(**ASK, model=str(name)).choices[0].message.content
                       for name in (toy.converted(), toy.FOLDER / "again")]
            self.assertEqual(*answers)
            self.assertTrue(engine.chat.completions.create(**ASK).choices[0].message.content)
            with self.assertRaisesRegex(mlc_llm.NotFoundError, "expected one of"):
                engine.chat.completions.create(**ASK, model="other")

    def test_what_cannot_be_opened(self):
        cases = [
            ({"model": toy.FOLDER / "none"}, "none"),
            ({"mode": "fast"}, "mode: found 'fast', expected local, interactive or server"),
            ({"device": "abacus"}, "^device: "),
            ({"model_lib": toy.FOLDER / "none.so"}, "none.so"),
            ({"engine_config": {"max_num_sequence": 0}}, "^engine_config: max_num_sequence is 0, expected 1 or more"),
            ({"engine_config": {"max_total_sequence_length": -4}}, "^engine_config: max_total_sequence_length is -4"),
            ({"engine_config": {"maximum": 0}}, "^engine_config: unknown key 'maximum'"),
            ({"engine_config": {"speculative_mode": "eagle"}}, "^engine_config: speculative_mode is 'eagle', expected one of 'disable', 'ngram', 'small_draft', 'medusa'"),
            ({"engine_config": {"speculative_mode": "small_draft"}},
             "^engine_config: additional_models: small_draft wants one model that drafts, found 0"),
            ({"engine_config": {"speculative_mode": "medusa"}},
             "^engine_config: additional_models: medusa wants one head that drafts, found 0"),
            ({"engine_config": {"kv_cache_page_size": 8}}, "^engine_config: kv_cache_page_size is 8, expected 16"),
            ({"enable_tracing": True}, "^enable_tracing: "),
        ]
        for changes, sentence in cases:
            with self.subTest(changes), self.assertRaisesRegex(CommandError, sentence):
                MLCEngine(**(toy.model() | changes))

    def test_commands_raise(self):
        with self.assertRaisesRegex(CommandError, "does not exist; create it first"):
            mlc_llm.compile(toy.converted(), toy.FOLDER / "none/toy.so", device="cpu")
        with self.assertRaisesRegex(CommandError, "unknown flag --optt"):
            mlc_llm.compile(toy.converted(), toy.FOLDER / "x.so", optt="O2")
        with self.assertRaises(CommandError):
            mlc_llm.gen_config(toy.checkpoint(), "q9", toy.FOLDER / "q9")


if __name__ == "__main__":
    unittest.main()
