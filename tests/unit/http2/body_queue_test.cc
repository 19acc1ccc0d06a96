// unit/http2/body_queue_test.cc - pieces out in order, cut where they must be, each message counted once.
#include "http2/body_queue.h"

#include <criterion/criterion.h>

#include <string>

using namespace nebula;

Test(body_queue, gives_pieces_in_order_and_counts_their_messages_once) {
  BodyQueue queue;
  queue.push({Bytes::copy("one"), 1});
  queue.push({Bytes::copy("a run of many"), 300});
  queue.push({Bytes::copy("end"), 1});
  cr_assert(queue.bytes() == 19 && queue.pieces() == 3);
  std::string all;
  uint32_t messages = 0, most = 0;
  while (queue.bytes() > 0) {
    BodyQueue::Piece piece = queue.pop(2);
    cr_assert_leq(piece.bytes.size(), 2);
    all += piece.bytes.view();
    messages += piece.messages;
    if (piece.messages > most) most = piece.messages;
  }
  cr_assert_str_eq(all.c_str(), "onea run of manyend");
  cr_assert(messages == 302 && most == 300, "%u", messages);
  cr_assert_eq(queue.pieces(), 0);
}
