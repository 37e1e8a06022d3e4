# Turns the files of the chat page (apps/http/page/) into include files, each one C++ string literal.
foreach(kind html css js)
  set(file ${CMAKE_SOURCE_DIR}/apps/http/page/page.${kind})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} page_text)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/http/page.${kind}.inc
       CONTENT "R\"PAGE(@page_text@)PAGE\"\n" @ONLY)
endforeach()
