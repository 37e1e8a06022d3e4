# OpenAI's Python package against `mlc_llm serve MODEL`: a whole answer, a stream, an answer of a JSON schema, and the
# Responses API. Usage: pip install openai; python examples/openai_chat.py [BASE_URL]
import json
import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000/v1", api_key="none")
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "Name three colours."}]

answer = client.chat.completions.create(model=model, messages=messages, max_tokens=40)
print(answer.choices[0].message.content)

for chunk in client.chat.completions.create(model=model, messages=messages, max_tokens=40, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

schema = {"type": "object", "properties": {"colours": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3}},
          "required": ["colours"], "additionalProperties": False}
answer = client.chat.completions.create(model=model, messages=messages, max_tokens=100, response_format={
    "type": "json_schema", "json_schema": {"name": "colours", "strict": True, "schema": schema}})
print(json.loads(answer.choices[0].message.content)["colours"])

print(client.responses.create(model=model, input="Name a fruit.", max_output_tokens=40).output_text)
