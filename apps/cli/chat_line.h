// What a line typed into chat is: one of its commands, or text for the model.
#pragma once

#include <string>

namespace mlc::cli {

struct ChatLine {
  std::string command;  // "/set", "/exit", ...; "" for text
  std::string text;     // for the model, or what /set is given
  std::string meant;    // the command that a text of a single word is one letter from; "" for none
};

// Text that begins with / is for the model too, unless it is a command; // before what would be a command
// makes it text and loses one slash.
ChatLine read_chat_line(const std::string& line);

}  // namespace mlc::cli
