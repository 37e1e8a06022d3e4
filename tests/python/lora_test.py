# LoRA adapters of the engines: opened with, loaded and unloaded while it runs, chosen by the model's name.
import asyncio
import unittest

import toy

from mlc_llm import AsyncMLCEngine, BadRequestError, CommandError, MLCEngine, NotFoundError

ASK = {"messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 12, "temperature": 0}


def folder(name):
    return toy.DATA / "models/llama_lora" / name


def model(**config):
    return toy.model() | {"model_lib": toy.library(lora_adapters=2, lora_rank=8), "engine_config": {"verbose": False} | config}


class LoraTest(unittest.TestCase):
    def test_the_name_chooses(self):
        base = str(toy.converted())
        with MLCEngine(**model(lora_adapters={"plain": folder("plain")})) as engine:
            self.assertEqual(engine.lora_adapters(), [f"{base}:plain"])
            answers = {name: engine.chat.completions.create(**ASK, model=name) for name in (base, f"{base}:plain", "plain")}
            texts = {name: answer.choices[0].message.content for name, answer in answers.items()}
            self.assertNotEqual(texts[base], texts["plain"])
            self.assertEqual(texts[f"{base}:plain"], texts["plain"])
            self.assertEqual(answers["plain"].model, f"{base}:plain")
            self.assertEqual(engine.chat.completions.create(**ASK).choices[0].message.content, texts[base])
            engine.load_lora_adapter("patterns", folder("patterns"))
            other = engine.chat.completions.create(**ASK, model=f"{base}:patterns").choices[0].message.content
            self.assertNotIn(other, texts.values())
            with self.assertRaisesRegex(BadRequestError, "holds 2 at once"):
                engine.load_lora_adapter("more", folder("plain"))
            engine.unload_lora_adapter("plain")
            with self.assertRaisesRegex(NotFoundError, "no adapter 'plain' of .* is loaded; there are: patterns"):
                engine.chat.completions.create(**ASK, model=f"{base}:plain")
            with self.assertRaises(NotFoundError):
                engine.unload_lora_adapter("plain")

    def test_mistakes_name_the_argument(self):
        with self.assertRaisesRegex(CommandError, "^engine_config: lora_adapters: .*no/such"):
            MLCEngine(**model(lora_adapters={"a": "no/such"}))
        with self.assertRaisesRegex(CommandError, "^engine_config: max_loras is 0"):
            MLCEngine(**model(max_loras=0))

    def test_coroutines(self):
        async def run():
            async with AsyncMLCEngine(**model()) as engine:
                await engine.load_lora_adapter("plain", folder("plain"))
                names = await engine.lora_adapters()
                answer = await engine.chat.completions.create(**ASK, model=names[0])
                await engine.unload_lora_adapter("plain")
                return answer.model, names, await engine.lora_adapters()

        name = f"{toy.converted()}:plain"
        self.assertEqual(asyncio.run(run()), (name, [name], []))


if __name__ == "__main__":
    unittest.main()
