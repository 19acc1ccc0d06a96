// http2/h2_windows.cc - windows that grow with the bandwidth-delay product, each stream's with what its reader takes.
//
// Not by SETTINGS, which would give room to streams that nobody reads. All the growth of a connection together stays
// within the connection's own window, beyond which nothing could be under way.
#include "base/limits.h"
#include "http2/h2_session.h"

namespace nebula {

void H2Session::on_stream_bytes(H2Stream* stream, size_t size) {
  if (bdp_.on_data(loop_.now(), size)) {
    for (H2Stream* each = streams_; each != nullptr; each = each->next_) each->window_.begin_sample();
    ping(bdp_ping);
  }
  stream->window_.received += size;
}

void H2Session::on_bdp_answer() {
  bdp_.on_answer(loop_.now());
  for (H2Stream* stream = streams_; stream != nullptr; stream = stream->next_) {
    int32_t most = stream->window_.bytes + limits::connection_window_bytes - windows_growth_;
    int32_t bytes = std::min(bdp_.window_for(stream->window_), most);
    if (bytes == stream->window_.bytes) continue;
    int32_t growth = bytes - std::exchange(stream->window_.bytes, bytes);
    windows_growth_ += growth;
    if (!stream->peer_ended_)
      writer_.number_frame(h2::window_update_frame, stream->id_, static_cast<uint32_t>(growth));
    bdp_.on_growth(loop_.now());
    flush_later();
  }
}

}  // namespace nebula
