# Tokenizer, TextStreamer, StopStrHandler.
import threading
import unittest

import toy

from mlc_llm import CommandError
from mlc_llm.tokenizers import StopStrHandler, TextStreamer, Tokenizer

TEXT = "Grüße aus Zürich, 你好, 👋🏽 and good-bye."


class TokenizersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tokenizer = Tokenizer(toy.checkpoint())

    def test_there_and_back(self):
        ids = self.tokenizer.encode(TEXT)
        self.assertGreater(len(ids), 10)
        self.assertTrue(all(0 <= token < self.tokenizer.vocab_size for token in ids))
        self.assertEqual(self.tokenizer.decode(ids).strip(), TEXT)
        self.assertEqual(self.tokenizer.encode_batch([TEXT, "a", ""]), [ids, self.tokenizer.encode("a"), []])

    def test_streams_whole_characters(self):
        streamer = TextStreamer(self.tokenizer)
        pieces = [streamer.put([token]) for token in self.tokenizer.encode(TEXT)]
        self.assertIn("", pieces)  # part of a character
        self.assertNotIn("\ufffd", "".join(pieces))
        self.assertEqual(("".join(pieces) + streamer.finish()).strip(), TEXT)

    def test_finds_stop_strings(self):
        ids = self.tokenizer.encode(TEXT)
        handler = StopStrHandler(["good-"], self.tokenizer)
        shown = []
        for token in ids:
            shown += handler.put(token)
            if handler.stop_triggered:
                break
        self.assertTrue(handler.stop_triggered)
        self.assertEqual(ids[:len(shown)], shown)
        self.assertTrue(TEXT.startswith(self.tokenizer.decode(shown).strip()))
        self.assertNotIn("good", self.tokenizer.decode(shown))
        handler = StopStrHandler(["never"], self.tokenizer)
        shown = [token for given in ids for token in handler.put(given)] + handler.finish()
        self.assertEqual((shown, handler.stop_triggered), (ids, False))

    def test_a_handler_keeps_its_tokenizer(self):
        tokenizer = Tokenizer(toy.checkpoint())
        handler, streamer = StopStrHandler(["x"], tokenizer), TextStreamer(tokenizer)
        del tokenizer
        self.assertEqual(handler.put(70) + handler.finish(), [70])
        self.assertTrue(streamer.put([70, 71, 72]) + streamer.finish())

    def test_threads(self):
        wanted, got = self.tokenizer.encode(TEXT), []
        threads = [threading.Thread(target=lambda: got.append(self.tokenizer.encode(TEXT))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(got, [wanted] * 8)

    def test_no_tokenizer(self):
        with self.assertRaisesRegex(CommandError, "no tokenizer found"):
            Tokenizer(toy.FOLDER / "no tokenizer found")


if __name__ == "__main__":
    unittest.main()
