# litellm against `mlc_llm serve MODEL`, whole and streamed. The prefix "openai/" names the protocol.
# Usage: pip install litellm; python examples/litellm_chat.py [BASE_URL]
import sys

import litellm

ask = dict(model="openai/any", api_base=sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000/v1", api_key="none",
           messages=[{"role": "user", "content": "Name three colours."}], max_tokens=40)
print(litellm.completion(**ask).choices[0].message.content)
for chunk in litellm.completion(**ask, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
