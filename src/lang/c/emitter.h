// The printing of one kernel: the state that statements and expressions share.
#pragma once

#include <set>
#include <sstream>
#include <string>
#include <unordered_map>

#include "lang/c/dialect.h"

namespace mlc::lang {

class CEmitter {
 public:
  CEmitter(const kernel::Function& kernel, const Dialect& dialect) : kernel_(kernel), d_(dialect) {}
  std::string run();

 private:
  // printer.cpp: statements
  void line(const std::string& text);
  void block(const std::vector<kernel::StmtRef>& statements);
  void statement(const kernel::Stmt& s);
  void let(const kernel::Stmt& s);
  void loop(const kernel::Stmt& s);
  void inner(const kernel::Stmt& s);
  void serial_loop(const kernel::Stmt& s);
  void branch(const kernel::Stmt& s);
  void alloc(const kernel::Stmt& s);
  void store(const kernel::Stmt& s);
  void matrix(const kernel::Stmt& s);
  void begin_statement(const std::vector<kernel::ExprRef>& roots);
  void count_uses(const kernel::ExprRef& e);

  // expressions.cpp: the text of an expression: an atom, a call, or in parentheses
  std::string value(const kernel::ExprRef& e);
  // The same as a name or constant, which may be repeated.
  std::string atom(const kernel::ExprRef& e);
  std::string temporary(const kernel::Type& type, const std::string& text);
  std::string text_of(const kernel::Expr& e);
  std::string constant(const kernel::Expr& e);
  std::string unary(const kernel::Expr& e);
  std::string binary(const kernel::Expr& e);
  std::string dot4(const kernel::Expr& e);
  std::string shuffle(const kernel::Expr& e);
  std::string element(const kernel::BufferRef& buffer, const kernel::ExprRef& index);
  bool is_bits(const kernel::Expr& e) const;

  const kernel::Function& kernel_;
  const Dialect& d_;
  std::ostringstream out_;
  int indent_ = 2, temporaries_ = 0;
  std::set<std::string> bits_;  // integer variables made of a float's bits: their arithmetic may wrap
  std::unordered_map<const kernel::Expr*, int> uses_;          // in the statement being printed
  std::unordered_map<const kernel::Expr*, std::string> memo_;  // temporaries of that statement
};

}  // namespace mlc::lang
