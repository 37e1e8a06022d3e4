# LangChain's ChatOpenAI against `mlc_llm serve MODEL`, with a tool: the model calls it, and its result goes back.
# MODEL needs a chat template that takes tools (Qwen, Llama 3, Mistral, Hermes, ...).
# Usage: pip install langchain-openai; python examples/langchain_tools.py [BASE_URL]
import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"In {city} the sun shines."


chat = ChatOpenAI(base_url=sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000/v1", api_key="none",
                  model="any", temperature=0, max_tokens=60)
messages = [HumanMessage("What is the weather in Berlin?")]
# With tool_choice="auto" the model may answer in words instead.
asked = chat.bind_tools([weather], tool_choice="required", parallel_tool_calls=False).invoke(messages)
messages.append(asked)
for call in asked.tool_calls:
    print("call:", call["name"], call["args"])
    messages.append(ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]))
print(chat.bind_tools([weather], tool_choice="none").invoke(messages).content)
