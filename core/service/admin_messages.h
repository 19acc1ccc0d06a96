// service/admin_messages.h - what was counted, as messages of nebula.v1.Admin: protobuf, or JSON for who has no protobuf.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/metrics.h"

namespace nebula {

enum class AdminForm : uint8_t { proto, json };

Bytes metrics_message(const MetricsSnapshot& all, AdminForm form);   // MetricsResponse
Bytes channels_message(const MetricsSnapshot& all, AdminForm form);  // ChannelsResponse

// {"metrics": ..., "channels": ...}, each the message above.
Bytes whole_report(const MetricsSnapshot& all);

}  // namespace nebula
