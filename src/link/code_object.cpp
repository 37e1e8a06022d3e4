// Links code objects.
#include "link/code_object.h"

#include "base/file.h"
#include "base/strings.h"
#include "base/temp_folder.h"
#include "formats/library.h"
#include "link/lld.h"

namespace mlc::link {

// Pages of 4 KiB and no tables of names that GNU's loader alone wants keep a file of one kernel small.
Result<std::string> finish_gpu_kernel(std::string blob) {
  const Result<GpuKernelView> view = read_gpu_kernel(blob.data(), GpuLanguage::kAmdgpu);
  if (!view.is_ok()) return blob;
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::create());
  const std::string object = folder.file("kernel.o"), output = folder.file("kernel.hsaco");
  RETURN_IF_ERROR(write_file(object, std::string(view->code)));
  RETURN_IF_ERROR(
      run_linker({"ld.lld", "-m", "elf64_amdgpu", "-shared", "-z", "max-page-size=4096", "-z", "defs",
                  "--hash-style=sysv", "--build-id=none", "--threads=1", "-o", output, object}));
  ASSIGN_OR_RETURN(const std::string code, read_file(output));
  return gpu_kernel_blob(view->header, view->name, code);
}

}  // namespace mlc::link
