// base/limits.h - every upper bound in the engine, each with its reason.
//
// Reaching one gives resource_exhausted (or what the line says), never growth.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace nebula::limits {

// gRPC's own default for a received message; peers expect it.
inline constexpr size_t message_bytes_max = 4u << 20;

// What a zstd frame may ask its reader to remember, as a power of two: the 8 MiB that RFC 8878, 3.1.1.1.2, has every
// decoder bear.
inline constexpr int zstd_window_bits_max = 23;
// What a server inflates in one turn of its loop before others get theirs: about a millisecond.
inline constexpr int64_t inflated_bytes_a_turn = 1 << 20;

// Decoded header list of one call, advertised as SETTINGS_MAX_HEADER_LIST_SIZE: gRPC's C-core has the same hard limit.
inline constexpr size_t metadata_bytes_max = 16u << 10;
// Over this, which is where some peers of gRPC begin to refuse, the log says so: once for a connection.
inline constexpr size_t metadata_bytes_soft = 8u << 10;
// One-byte HPACK references make fields cheap to send and dear to keep, so their number is bound too.
inline constexpr size_t metadata_fields_max = 128;
// A head so far over the limit is an attack on the decoder (CVE-2016-6581, CVE-2026-49975): the connection is closed.
inline constexpr size_t metadata_bytes_hostile = 8 * metadata_bytes_max;

// A status message beyond is cut: it travels in the header list, percent-encoded to up to three times its size.
inline constexpr size_t status_message_bytes_max = 3u << 10;

// Streams that a peer may have open on one connection of ours. More wait at our client, none fails.
inline constexpr uint32_t streams_max = 1000;
// Calls that a client may cancel on one connection, beyond which it is cut (CVE-2023-44487). A thousand calls with a
// deadline of 100 ms, all missed, are 10,000 a second.
inline constexpr uint64_t resets_at_once_max = 10'000;
inline constexpr uint64_t resets_per_second_max = 10'000;
// Streams that are opened for nothing: cancelled so soon that nobody can have wanted an answer (CVE-2023-44487), made
// to be reset by us through bad frames (CVE-2025-8671), or more than we allow.
inline constexpr Duration early_reset = ms(10);
inline constexpr int64_t wasted_streams_at_once_max = 1000;
inline constexpr int64_t wasted_streams_per_second_max = 33;
// Frames that carry nothing: SETTINGS, PING, WINDOW_UPDATE, PRIORITY, RST_STREAM, empty DATA, and what we do not know
// (CVE-2019-9512, 9513, 9515, 9518). Each request, and each DATA frame that we send, brings in a few.
inline constexpr int64_t control_frames_at_once_max = 1000;
inline constexpr int64_t control_frames_per_second_max = 100;
inline constexpr int64_t control_frames_per_data_sent = 4;
// As many as nghttp2 takes: entries of a SETTINGS frame, CONTINUATION frames of a header block.
inline constexpr size_t settings_entries_max = 32;
inline constexpr size_t continuations_max = 8;
// A peer that is to send or to read something, and does so at less than this rate for that long, is let go.
inline constexpr int64_t rate_min = 100;  // bytes a second
inline constexpr Duration stall_timeout = sec(30);
inline constexpr Duration head_timeout = sec(10);  // a header block that is not complete
inline constexpr Duration stall_look_interval = sec(5);
// Stream ids are used up at 2^31; well before, a client moves on to a new connection.
inline constexpr int32_t stream_id_max = 1 << 30;
// What a client assumes until SETTINGS arrive (RFC 9113, 6.5.2 recommends no less).
inline constexpr uint32_t streams_before_settings = 100;
// A peer that refuses streams is asked for one more than it has shown to take after so long, and less and less often
// while nothing is answered. Our own server bears wasted_streams_per_second_max.
inline constexpr Duration refusal_pause_first = ms(100);
inline constexpr Duration refusal_pause_max = sec(1);

// Flow control: 64 KiB, the default, was measured to cost 47 % throughput; from 1 MiB up nothing is gained on one host.
// Over distances the window of a stream grows as its reader shows to need it (http2/bdp.h): 8 MiB are 160 MB/s at 50 ms.
inline constexpr int32_t stream_window_bytes = 1 << 20;
inline constexpr int32_t stream_window_max = 8 << 20;
// As large from the start as it could become: its credit returns on receipt, so that nothing is kept in it.
inline constexpr int32_t connection_window_bytes = 16 << 20;
// A round trip is measured after so much data, where a window may be in the way, and no oftener than this.
inline constexpr size_t bdp_bytes_min = stream_window_bytes / 4;
inline constexpr Duration bdp_pause = ms(100);

// Bytes that a session keeps for a peer that does not read. Beyond, streams wait for room.
inline constexpr size_t session_output_bytes_max = 1u << 20;
// What a session itself answers (to SETTINGS, PINGs, bad frames) has no place to wait; a peer that does not read so much
// of it is cut (CVE-2019-9512, 9515).
inline constexpr size_t answers_unread_bytes_max = 256u << 10;
// Answers of one message are taken whole, whatever the peer reads. One alone always is; others may wait beside it up to
// so much: 64 answers of 4 MiB, which is what peers take at most unless told otherwise. No gRPC client begins a stream
// with a window of less than 64 KiB; one that grants less than a quarter of that does not mean to read.
inline constexpr size_t session_bodies_bytes_max = 256u << 20;
inline constexpr size_t miser_bodies_bytes_max = 16u << 20;
inline constexpr uint32_t miser_window_bytes = 16 << 10;
// An answer from here on is not even copied where there is no room for it: 10 MiB take 3 ms.
inline constexpr size_t room_looked_for_min = 256u << 10;
// A stream tells its writer to wait above the first mark, and to go on below the second; each piece of its body counts
// event_bytes more than it has, for that is what a small one costs.
inline constexpr size_t stream_send_high = 256u << 10;
inline constexpr size_t stream_send_low = 64u << 10;

// Read buffer, one per loop: from 4 KiB to 256 KiB no difference was measured.
inline constexpr size_t read_buffer_bytes = 64u << 10;
// Reads of one connection in a row before the others of its loop get their turn.
inline constexpr int reads_in_a_row_max = 32;
// Chunks of a message from here on are kept as slices of the read buffer; below, copying is cheaper than pinning it.
inline constexpr size_t slice_bytes_min = 8u << 10;

// What a client's stream keeps of the messages that it has sent until the server answers, for another try.
inline constexpr size_t replay_bytes_max = 64u << 10;

// Calls of one channel that wait for a connection or a free stream.
inline constexpr size_t calls_waiting_max = 100'000;
// Messages submitted between two polls by the thread that polls: from here on it runs a turn of the loop at once.
inline constexpr size_t posted_bytes_max = 1u << 20;
// Undelivered events of a queue; at the bound new streams are refused.
inline constexpr size_t queue_events_max = 200'000;
// Messages of one stream that a queue holds for a binding, or that it has not said to have dealt with: so many bytes,
// each message counted with what its event costs.
inline constexpr size_t stream_events_bytes = 256u << 10;
inline constexpr size_t event_bytes = 128;
// Events delivered by one poll, unless the queue's options say otherwise. Of a client's fewer: what it asks next is then
// on its way while it looks at the rest, and the server need not wait until it has seen them all. With a hundred calls
// in flight 32 was the best of 16, 32, 64 and 256.
inline constexpr uint32_t poll_batch = 256;
inline constexpr uint32_t poll_answers = 32;

// Small blocks that a thread keeps for the calls to come: a hundred calls at once have most of it.
inline constexpr size_t pool_bytes_max = 256u << 10;

// Keepalive (gRFC A8): no client pings more often than each 10 s; a peer that is silent for 20 s after is given up.
inline constexpr Duration keepalive_interval_min = sec(10);
inline constexpr Duration keepalive_timeout = sec(20);
inline constexpr Duration keepalive_interval_server = sec(2 * 3600);
// A client's PINGs that come sooner than this after one another are counted, and so many are borne.
inline constexpr Duration ping_interval_min = sec(5 * 60);
inline constexpr Duration ping_interval_idle = sec(2 * 3600);  // while it has no call
inline constexpr int ping_strikes_max = 2;

// A channel without calls for so long closes its connections (gRPC's client idleness).
inline constexpr Duration channel_idle_max = sec(30 * 60);
// Connections of one server. Beyond, the one that has been idle for longest makes room.
inline constexpr size_t connections_max = 100'000;
// Connections that close leave freed memory with malloc. When they were so many, or had so many calls at once, it goes back
// to the system after a while: that takes milliseconds, so it is not done for fewer, nor more often.
inline constexpr size_t crowd_min = 200;
inline constexpr Duration memory_back_after = sec(10);

// Connecting: gRPC's connection-backoff.md.
inline constexpr Duration connect_timeout = sec(20);
// Of several addresses of one name, the next is tried so long after the one before it (RFC 8305, gRFC A61).
inline constexpr Duration dial_stagger = ms(250);
inline constexpr Duration backoff_first = sec(1);
inline constexpr Duration backoff_max = sec(120);
// While calls have no instance to go to, or had none so lately, each is dialled again after so long at most; and one that has
// not answered a dial is dialled beside it. Within a second of the end of a partition somebody is reached. With what TCP
// sends again by itself, after 1, 3, 7 and 15 s, eight dials leave no longer gap until the first has ended.
inline constexpr Duration backoff_in_need = sec(1);
inline constexpr Duration need_lasts = sec(5);
inline constexpr size_t dials_at_once_max = 8;
// Calls pass their deadlines, and their connection says nothing: a PING, and nothing for so long after it, and there is
// a new one. TCP sends again three times in that time, and no pause of a peer's runtime is as long as a rule. No more than one
// PING in each doubt_pause; and of those that were all that the peer answered, no more than it surely bears.
inline constexpr Duration doubt_timeout = sec(2);
inline constexpr Duration doubt_pause = sec(5);
// Handshake of a new connection at the server: the preface must have come by then.
inline constexpr Duration preface_timeout = sec(10);
// The same when the server is about to stop, which is not to wait for a health checker that only connects.
inline constexpr Duration preface_timeout_draining = ms(500);
// A TLS handshake, on both sides. What comes after it has the times above.
inline constexpr Duration tls_handshake_timeout = sec(10);
// Certificates on disk are looked at again, when a handshake begins, no more often than this.
inline constexpr Duration tls_look_interval = sec(1);
// What TLS itself may answer to a peer (alerts, key updates) that does not read it; then the peer is cut.
inline constexpr size_t tls_answers_bytes_max = 64u << 10;
// After its first GOAWAY a server waits so long for the client's answer before it says which stream is the last.
inline constexpr Duration goaway_answer_timeout = ms(500);
// A server that has said its last word waits so long for the client to close.
inline constexpr Duration linger_timeout = sec(1);
// An orderly stop waits so long for running calls, unless told otherwise.
inline constexpr Duration drain_timeout = sec(10);
// Before that its registries are asked to say that it drains; it does not wait longer than this for their answer.
inline constexpr Duration drain_mark_wait = sec(1);
// How long a call by name waits for the first word of the registry.
inline constexpr Duration resolve_timeout = sec(5);

// How long checked calls wait for the description of their service; then they go unchecked.
inline constexpr Duration description_timeout = sec(5);
// Services whose descriptions one channel keeps; calls of more go unchecked.
inline constexpr size_t descriptions_max = 1000;
// Steps of one check, so that no description makes it long, whatever it says: an honest one needs two or three for each
// value. Beyond, the message goes as it is.
inline constexpr size_t check_steps_min = 1024;
inline constexpr size_t check_steps_a_byte = 16;
// Messages up to so much are parsed in memory that is kept, which is about ten times as much.
inline constexpr size_t check_memory_max = 16u << 10;

// etcd. What is announced ends so long after its program did; it is renewed three times as often, a tenth more or less by
// chance.
inline constexpr Duration etcd_lease = sec(15);
inline constexpr Duration etcd_timeout = sec(5);      // of one question
inline constexpr Duration etcd_silence_max = sec(10);  // then the connection is pinged
// After a failure it is asked again so soon, and ever later; half of each pause is by chance, for all come back at once.
// A pause of the connection and one of the question may follow each other, and within two seconds all is known again.
inline constexpr Duration etcd_backoff_first = ms(200);
inline constexpr Duration etcd_backoff_max = ms(800);
inline constexpr int64_t etcd_page = 1000;             // keys of one answer
inline constexpr size_t etcd_message_bytes_max = 16u << 20;

// DNS. What it says is believed for as long as it says itself, between these: a TTL of 0 is common, and so is one of a day
// on what changes sooner. That there is nobody is asked again before long, since somebody is waiting.
inline constexpr Duration dns_life_min = sec(5);
inline constexpr Duration dns_life_max = sec(300);
inline constexpr Duration dns_nothing_max = sec(30);
// One server's time for one question; after so many rounds of all servers nobody knows.
inline constexpr Duration dns_try_timeout = sec(2);
inline constexpr size_t dns_rounds = 2;
inline constexpr size_t dns_questions_max = 16;  // at a time; others wait
inline constexpr size_t dns_records_max = 1000;  // of one answer
// After a failure, as with etcd; but a name is looked up by everybody, so more slowly.
inline constexpr Duration dns_backoff_first = ms(500);
inline constexpr Duration dns_backoff_max = sec(30);

// A Unix socket's path, with its end (sun_path).
inline constexpr size_t unix_path_max = 107;
// Tries of one call at most (gRFC A6).
inline constexpr uint32_t tries_max = 5;
// Retries that a channel has in hand before it has made any call, and at most, however many calls had no need of theirs.
inline constexpr int64_t retry_reserve = 10;
inline constexpr int64_t retry_budget_max = 1000;
// Throttle tokens of a channel (gRFC A6): half of them, which is so many failures, and there are no retries. A node that
// dies takes all of its calls with it, and those are to be retried.
inline constexpr int64_t throttle_tokens = 1000;
// What a node's latency was so long ago counts a third of what it is now; and a node that is new, or back, gets its whole
// share after so long.
inline constexpr Duration latency_memory = sec(10);
inline constexpr Duration slow_start = sec(10);
// A node that has failed too often is left alone for so long at first, and twice as long with each relapse; then it gets
// one call at a time, until so many in a row were good.
inline constexpr Duration isolation_first = sec(1);
inline constexpr Duration isolation_max = sec(60);
inline constexpr uint32_t probes_good = 3;
// Of a channel's nodes, that breakers may leave alone at a time: beyond, it is not the nodes.
inline constexpr double isolated_share = 0.5;
// Loops of a program that call the same name tell each other of retries and failures no oftener than this: what they can
// spend twice meanwhile is what they earn meanwhile.
inline constexpr Duration commons_pause = ms(100);
// Of a service with more instances each client uses so many, others each: connections are bounded, and the load is even.
inline constexpr uint32_t subset_nodes = 100;
// Connections to one node that one loop has for new calls, as gRPC's clients (A105): with the hundred streams that most
// servers and proxies take on one, a thousand calls at a time.
inline constexpr size_t links_max = 10;
// What no call has needed for so long is not used, and what was not used for so long is closed. A burst a minute finds
// its connections as it has left them; a server is rid of them before it would have closed them itself.
inline constexpr Duration links_look_interval = sec(30);

// Registries of one program: each is watched for every name, and is a rank of its own for balancers.
inline constexpr size_t registries_max = 8;
// Methods that one loop counts by name, for each side, and targets of channels: a program has dozens. Further ones are
// counted together, as `other`: names that somebody makes up must not fill the memory.
inline constexpr size_t metrics_methods_max = 1000;

// A service's name: it must fit a file's name beside an instance id.
inline constexpr size_t service_name_max = 200;
// A registry record is a few hundred bytes; a larger file is none of ours.
inline constexpr size_t record_bytes_max = 16u << 10;
// A policy is a few lines; a service config of hundreds of methods some tens of KB. More is something else.
inline constexpr size_t policy_bytes_max = 256u << 10;
// Where inotify is used up, the registry's directory is looked through so often.
inline constexpr Duration registry_poll_interval = ms(250);

}  // namespace nebula::limits
