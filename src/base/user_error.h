// The one exception of the compiler rooms (graph, frontend, kernel, lang, link): a mistake of the user, in
// one sentence. compile.cpp turns it into a Status; rooms built without exceptions return Status themselves.
#pragma once

#include <stdexcept>

namespace mlc {

class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace mlc
