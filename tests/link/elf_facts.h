// What a loader would see in a 64-bit little-endian ELF shared object.
#pragma once

#include <elf.h>

#include <cstring>
#include <string>
#include <vector>

namespace mlc {

struct ElfFacts {
  uint16_t machine = 0;
  std::vector<std::string> exports, imports, needed;
  std::string soname;
  bool binds_now = false, has_relro = false, executable_stack = true;
};

template <typename T>
T read_at(const std::string& bytes, size_t offset) {
  T value{};
  if (offset + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

inline void read_dynamic(const std::string& bytes, const Elf64_Shdr& section, const char* strings,
                         ElfFacts& facts) {
  for (size_t i = 0; i < section.sh_size; i += sizeof(Elf64_Dyn)) {
    auto entry = read_at<Elf64_Dyn>(bytes, section.sh_offset + i);
    if (entry.d_tag == DT_NEEDED) facts.needed.push_back(strings + entry.d_un.d_val);
    if (entry.d_tag == DT_SONAME) facts.soname = strings + entry.d_un.d_val;
    if (entry.d_tag == DT_FLAGS && (entry.d_un.d_val & DF_BIND_NOW)) facts.binds_now = true;
  }
}

inline ElfFacts elf_facts(const std::string& bytes) {
  ElfFacts facts;
  auto header = read_at<Elf64_Ehdr>(bytes, 0);
  facts.machine = header.e_machine;
  for (int i = 0; i < header.e_phnum; ++i) {
    auto segment = read_at<Elf64_Phdr>(bytes, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type == PT_GNU_RELRO) facts.has_relro = true;
    if (segment.p_type == PT_GNU_STACK) facts.executable_stack = segment.p_flags & PF_X;
  }
  for (int i = 0; i < header.e_shnum; ++i) {
    auto section = read_at<Elf64_Shdr>(bytes, header.e_shoff + i * sizeof(Elf64_Shdr));
    auto linked = read_at<Elf64_Shdr>(bytes, header.e_shoff + section.sh_link * sizeof(Elf64_Shdr));
    const char* strings = bytes.data() + linked.sh_offset;
    if (section.sh_type == SHT_DYNAMIC) read_dynamic(bytes, section, strings, facts);
    if (section.sh_type != SHT_DYNSYM) continue;
    for (size_t at = sizeof(Elf64_Sym); at < section.sh_size; at += sizeof(Elf64_Sym)) {
      auto symbol = read_at<Elf64_Sym>(bytes, section.sh_offset + at);
      (symbol.st_shndx == SHN_UNDEF ? facts.imports : facts.exports).push_back(strings + symbol.st_name);
    }
  }
  return facts;
}

}  // namespace mlc
