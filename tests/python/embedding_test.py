# Embeddings: AsyncEmbeddingEngine, and engine.embeddings beside a model that writes.
import asyncio
import base64
import math
import shutil
import struct
import unittest

import toy

import mlc_llm
from mlc_llm import AsyncEmbeddingEngine, BadRequestError, CommandError, MLCEngine
from mlc_llm.protocol import openai_api_protocol as protocol


def converted():
    """A toy of Qwen3-Embedding's form, whose folder says so; with the tokenizer of another."""
    source, folder = toy.FOLDER / "embedding", toy.FOLDER / "embedding-converted"
    if not folder.exists():
        shutil.copytree(toy.DATA / "models/qwen3_embedding", source)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(toy.DATA / "weights/tokenizers/llama" / name, source)
        mlc_llm.convert_weight(source, "q4f16_1", folder)
        mlc_llm.gen_config(source, "q4f16_1", folder)
        mlc_llm.compile(folder, toy.FOLDER / "embedding.so", device="cpu")
    return {"model": folder, "model_lib": toy.FOLDER / "embedding.so", "device": "cpu", "engine_config": {"verbose": False}}


class EmbeddingTest(unittest.TestCase):
    def test_vectors(self):
        async def run():
            async with AsyncEmbeddingEngine(**converted()) as engine:
                texts = await engine.embed(["a text", "another", "a text"])
                ids = await engine.embeddings.create(input=[[5, 6, 7], [8]], dimensions=5)
                raw = await engine.embeddings.create(input="a text", encoding_format="base64")
                with self.assertRaisesRegex(BadRequestError, r"^input\[1\]: found 7"):
                    await engine.embeddings.create(input=["a", 7])
                with self.assertRaisesRegex(TypeError, "did you mean dimensions"):
                    await engine.embeddings.create(input="a", dimension=4)
                return texts, ids, raw

        texts, ids, raw = asyncio.run(run())
        self.assertEqual([len(vector) for vector in texts], [48] * 3)
        for vector in texts:
            self.assertAlmostEqual(math.hypot(*vector), 1, places=5)
        self.assertEqual(texts[0], texts[2])
        self.assertNotEqual(texts[0], texts[1])
        self.assertIsInstance(ids, protocol.EmbeddingResponse)
        self.assertEqual([len(item.embedding) for item in ids.data], [5, 5])
        self.assertEqual((ids.usage.prompt_tokens, ids.data[1].index), (4, 1))
        for value, expected in zip(struct.unpack("<48f", base64.b64decode(raw.data[0].embedding)), texts[0]):
            self.assertAlmostEqual(value, expected, places=6)

    def test_pooling(self):
        async def embed(pooling):
            async with AsyncEmbeddingEngine(**converted(), pooling_strategy=pooling) as engine:
                return (await engine.embed([[5, 6, 7]]))[0]

        last = asyncio.run(embed(None))
        self.assertEqual(asyncio.run(embed("last")), last)
        self.assertNotEqual(asyncio.run(embed("mean")), last)
        with self.assertRaisesRegex(CommandError, "^pooling_strategy: found 'max'"):
            AsyncEmbeddingEngine(**converted(), pooling_strategy="max")

    def test_beside_a_model_that_writes(self):
        embedder = converted()
        config = {"verbose": False, "additional_models": [[embedder["model"], embedder["model_lib"]]]}
        with MLCEngine(**(toy.model() | {"engine_config": config})) as engine:
            answer = engine.embeddings.create(input="a text", model=str(embedder["model"]))
            self.assertEqual(answer.model, str(embedder["model"]))
            ask = [{"role": "user", "content": "Hi"}]
            self.assertTrue(engine.chat.completions.create(messages=ask, max_tokens=3).choices)
            with self.assertRaisesRegex(BadRequestError, "gives embeddings and writes no text"):
                engine.chat.completions.create(messages=ask, model=str(embedder["model"]))
            with self.assertRaisesRegex(BadRequestError, "writes text and gives no embeddings"):
                engine.embeddings.create(input="a text", model=str(toy.converted()))


if __name__ == "__main__":
    unittest.main()
