# Anthropic's Python package against `mlc_llm serve MODEL`, whole and streamed.
# Usage: pip install anthropic; python examples/anthropic_messages.py [BASE_URL, without /v1]
import sys

from anthropic import Anthropic

client = Anthropic(base_url=sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000", api_key="none")
ask = dict(model="any", max_tokens=40, system="Be brief.", messages=[{"role": "user", "content": "Name three colours."}])

print(client.messages.create(**ask).content[0].text)

with client.messages.stream(**ask) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
