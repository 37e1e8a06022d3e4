// Requests with tools, for tests of the API: a template with a place for them, and functions.
#pragma once

#include "base/json.h"

namespace mlc::testing {

inline const char* const kToolTemplate =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls %}<tool_call>{{ c.function.name }}{{ c.function.arguments | tojson "
    "}}</tool_call>"
    "{% endfor %}{{ m.tool_call_id }}\n{% endfor %}{% if tools %}{{ tools | length }} tools{% endif %}<a>";

// A tool in the form of chats; all properties are required.
inline Json tool(const char* name, Json properties) {
  Json required = Json::array();
  for (const auto& item : properties.items()) required.push_back(item.key());
  return {{"type", "function"},
          {"function",
           {{"name", name},
            {"parameters",
             {{"type", "object"},
              {"properties", properties},
              {"required", required},
              {"additionalProperties", false}}}}}};
}

}  // namespace mlc::testing
