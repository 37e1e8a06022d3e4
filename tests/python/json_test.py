# JSONFFIEngine: JSON in, JSON chunks out.
import json
import unittest

import toy

from mlc_llm import BadRequestError
from mlc_llm.json_ffi import JSONFFIEngine

ASK = {"messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 12, "temperature": 0}


class JSONEngineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = JSONFFIEngine(**toy.model())

    @classmethod
    def tearDownClass(cls):
        cls.engine.terminate()

    def test_chunks_are_json(self):
        chunks = [json.loads(chunk) for chunk in self.engine.chat_completion(json.dumps(ASK), request_id="mine")]
        self.assertEqual({chunk["id"] for chunk in chunks}, {"mine"})
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        objects = self.engine.chat.completions.create(**ASK)
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in objects), text)
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "length")

    def test_refuses(self):
        for request, sentence in [("{", "^body: "), ("[]", "^body: found list"), (json.dumps(ASK | {"stream": False}), "^stream: "),
                                  (json.dumps(ASK | {"n": 0}), "^n: found 0"), ("{}", "^messages: ")]:
            with self.subTest(request), self.assertRaisesRegex(BadRequestError, sentence):
                self.engine.chat_completion(request)

    def test_reload(self):
        stream = self.engine.chat_completion(json.dumps(ASK | {"max_tokens": 6000}))
        next(stream)
        self.engine.reload(toy.converted(), model_lib=toy.library())
        *_, last = stream
        self.assertEqual(json.loads(last)["choices"][0]["finish_reason"], "abort")
        self.engine.reset()
        self.assertTrue(list(self.engine.chat.completions.create(**ASK)))
        self.engine.unload()
        with self.assertRaisesRegex(BadRequestError, "call reload"):
            self.engine.chat_completion(json.dumps(ASK))
        self.engine.reload(toy.converted(), model_lib=toy.library())


if __name__ == "__main__":
    unittest.main()
