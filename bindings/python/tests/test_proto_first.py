"""Methods whose messages are protobuf's."""

import pytest
from kit import aio

import nebula


@pytest.fixture
def cart(shop):
    app = nebula.Service("shop.v1.Cart")

    async def Add(req, ctx):
        if req.count < 0:
            raise nebula.Error(nebula.INVALID_ARGUMENT, "count is negative")
        return shop.AddReply(total=req.count + 1, note=f"{req.item} by {ctx.metadata.get('by', 'nobody')}")

    Add.__annotations__ = {"req": shop.AddRequest, "ctx": nebula.Context, "return": shop.AddReply}

    def Wrong(req):
        return shop.AddRequest()

    Wrong.__annotations__ = {"req": shop.AddRequest, "return": shop.AddReply}
    app.rpc(Add)
    app.unary(Wrong)
    return app


@pytest.fixture
def channel(serving, cart):
    with nebula.connect(serving(cart, address="tcp://127.0.0.1:0").urls[0]) as channel:
        yield channel


def test_a_message_goes_in_and_one_comes_out(channel, shop, cart):
    client = channel.service("shop.v1.Cart", timeout=5)
    reply = client.Add(shop.AddRequest(item="tea", count=2))
    assert isinstance(reply, shop.AddReply) and (reply.total, reply.note) == (3, "tea by nobody")
    assert client.Add(shop.AddRequest(item="tea"), metadata={"by": "Ada"}, timeout=1).note == "tea by Ada"
    assert cart.client(channel, timeout=5).Add(shop.AddRequest(), response=shop.AddReply).total == 1


def test_the_message_class_of_the_answer_comes_from_the_proto_file_or_the_caller(channel, shop):
    with pytest.raises(TypeError, match="shop.v1.Cart.Nope is in no .proto file"):
        channel.call("/shop.v1.Cart/Nope", shop.AddRequest())


def test_an_empty_message_is_a_message(channel, shop):
    assert channel.call("/shop.v1.Cart/Add", b"", response=shop.AddReply, timeout=5).total == 1


def test_json_is_understood_and_answered_in_json(channel):
    client = channel.service("shop.v1.Cart", timeout=5)
    assert client.Add(item="tea", count=2) == {"total": 3, "note": "tea by nobody"}


def test_an_answer_in_json_can_be_read_as_a_message(channel, shop):
    assert channel.call("/shop.v1.Cart/Add", {"count": 2}, response=shop.AddReply, timeout=5).total == 3


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xff"])
def test_malformed_protobuf_is_an_invalid_argument_and_the_service_lives_on(channel, shop, body):
    with pytest.raises(nebula.Error) as caught:
        channel.call("/shop.v1.Cart/Add", body, timeout=5)
    assert caught.value.code == nebula.INVALID_ARGUMENT
    assert caught.value.message.startswith("shop.v1.Cart.Add: malformed shop.v1.AddRequest")
    assert channel.call("/shop.v1.Cart/Add", shop.AddRequest(), timeout=5).total == 1


def test_malformed_json_names_the_field(channel):
    client = channel.service("shop.v1.Cart", timeout=5)
    for fields, word in (({"count": "many"}, "count"), ({"cuont": 1}, "cuont")):
        with pytest.raises(nebula.Error) as caught:
            client.Add(fields)
        assert caught.value.code == nebula.INVALID_ARGUMENT and word in caught.value.message


def test_an_error_of_the_handler_arrives(channel, shop):
    with pytest.raises(nebula.Error) as caught:
        channel.call("/shop.v1.Cart/Add", shop.AddRequest(count=-1), timeout=5)
    assert str(caught.value) == "INVALID_ARGUMENT: count is negative"


def test_another_message_than_promised_is_internal(channel, shop, caplog):
    with pytest.raises(nebula.Error) as caught:
        channel.call("/shop.v1.Cart/Wrong", shop.AddRequest(), response=shop.AddReply, timeout=5)
    assert caught.value.code == nebula.INTERNAL and "must be a AddReply" in caught.value.message


def test_a_malformed_answer_is_internal_at_the_client(serving, shop):
    app = nebula.Service("raw")

    @app.rpc
    def text() -> str:
        return "x" * 10

    @app.rpc
    def number() -> int:
        return 1

    with nebula.connect(serving(app, address="tcp://127.0.0.1:0").urls[0]) as channel:
        with pytest.raises(nebula.Error) as caught:
            channel.call("/raw/text", b"{}", response=shop.AddReply, timeout=5)
        assert caught.value.code == nebula.INTERNAL and "raw.text: malformed answer" in caught.value.message
        with pytest.raises(nebula.Error) as caught:
            channel.call("/raw/number", {}, response=shop.AddReply, timeout=5)
        assert caught.value.code == nebula.INTERNAL


def test_a_signature_with_messages_in_the_wrong_places_is_refused(shop):
    app = nebula.Service("shop.v1.Cart")

    def two(a, b): ...

    for hints in (
        {"a": shop.AddRequest, "b": shop.AddRequest, "return": shop.AddReply},
        {"a": shop.AddRequest, "b": nebula.Context, "return": str},
        {"a": int, "b": nebula.Context, "return": shop.AddReply},
        {"a": shop.AddRequest, "b": nebula.Context},
    ):
        two.__annotations__ = hints
        with pytest.raises(TypeError, match="a method with messages is"):
            app.rpc(two)


def test_asyncio_calls_it_too(shop, cart):
    async def main():
        async with nebula.serve(cart, "tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
            return await cart.client(channel).Add(shop.AddRequest(item="tea", count=1), timeout=5)

    assert aio(main).note == "tea by nobody"
