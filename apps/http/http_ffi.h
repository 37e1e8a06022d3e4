// The C border of rust/http: an HTTP/1.1 server that knows sockets and limits, and nothing of what it serves.
// Used only inside apps/http.
//
// A request comes in two steps: `admit` with its head alone, and, where that says true, `handle` with its
// body. Each gets a call, which is answered by begin, any number of sends, and end, from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct MlcHttpServer;
struct MlcHttpCall;

struct MlcHttpOptions {
  size_t max_body_bytes;     // 413 beyond
  size_t max_header_bytes;   // 431 beyond; at least 8192
  size_t max_connections;    // at once; 503 and closed beyond
  uint64_t head_timeout_ms;  // from the first byte of a head to its end
  uint64_t body_timeout_ms;  // for a whole body; 408 beyond
  size_t queued_chunks;      // sent and not yet taken by the client; beyond, it is too slow
};

// Borrowed for the callback. `path` has no query. `headers`: lines "name: value", names in small letters.
struct MlcHttpHead {
  const char* method;
  size_t method_size;
  const char* path;
  size_t path_size;
  const char* headers;
  size_t headers_size;
};

struct MlcHttpHandler {
  void* context;
  // On a thread of the server: must not block. False: it has answered and ended the call.
  bool (*admit)(void* context, MlcHttpCall* call, const MlcHttpHead* head);
  // On a thread of its own, which may be kept for a while.
  void (*handle)(void* context, MlcHttpCall* call, const MlcHttpHead* head, const uint8_t* body, size_t size);
  // The client of an admitted call that was not ended has gone; the call must be ended nonetheless. Must not
  // block. At most once a call, at any time until then, even before `handle` returns.
  void (*gone)(void* context, uint64_t id);
};

struct MlcHttpText {
  char* data;
  size_t size;
};
void mlc_http_free(MlcHttpText text);

// `port` 0: any free one; receives the one taken. Null and a sentence in `error` where it cannot listen.
MlcHttpServer* mlc_http_start(const char* host, size_t host_size, uint16_t* port,
                              const MlcHttpOptions* options, const MlcHttpHandler* handler,
                              MlcHttpText* error);
// Takes no more connections and closes idle ones.
void mlc_http_close(MlcHttpServer* server);
// close(), waits until all connections have ended or the time is over, closes the rest and frees the server.
void mlc_http_stop(MlcHttpServer* server, uint64_t patience_ms);

uint64_t mlc_http_id(const MlcHttpCall* call);
// Once. `headers` as above; with a content-length the answer is of that length, else it is chunked. False:
// the client has gone.
bool mlc_http_begin(MlcHttpCall* call, uint16_t status, const char* headers, size_t size);
// False: the client has gone or reads too slowly; then its connection is closed.
bool mlc_http_send(MlcHttpCall* call, const char* data, size_t size);
// Once, the last: the answer is complete. Frees the call.
void mlc_http_end(MlcHttpCall* call);

}  // extern "C"
