# A toy llama for the tests of the Python package: converted by the package itself, with no end token, so that answers last as long as
# their max_tokens.
import json
import shutil
import tempfile
from pathlib import Path

import mlc_llm

DATA = Path(__file__).resolve().parent.parent / "data"
TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}[assistant]"
CONTEXT = 8192  # long enough for a stream to be still at work when it is ended

_folder = tempfile.TemporaryDirectory(prefix="mlc-python-")
FOLDER = Path(_folder.name)


def checkpoint():
    folder = FOLDER / "checkpoint"
    if not folder.exists():
        folder.mkdir()
        shutil.copy(DATA / "models/llama/model.safetensors", folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(DATA / "weights/tokenizers/llama" / name, folder)
        config = json.loads((DATA / "models/llama/config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def converted():
    folder = FOLDER / "converted"
    if not folder.exists():
        mlc_llm.convert_weight(checkpoint(), "q4f16_1", folder)
        mlc_llm.gen_config(checkpoint(), "q4f16_1", folder)
        path = folder / "mlc-chat-config.json"
        config = json.loads(path.read_text())
        config["conv_template"]["stop_token_ids"] = []
        path.write_text(json.dumps(config))
    return folder


def library(**flags):
    path = FOLDER / "-".join(["toy", *map(str, flags.values())])
    path = path.with_name(path.name + ".so")
    if not path.exists():
        mlc_llm.compile(converted(), path, device="cpu", **flags)
    return path


def model():
    """Arguments of an engine for the toy model."""
    return {"model": converted(), "device": "cpu", "model_lib": library(), "engine_config": {"verbose": False}}
