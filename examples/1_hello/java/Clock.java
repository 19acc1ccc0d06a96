// java/Clock.java - a service of clock.proto, with the classes that protoc makes of it.
import demo.v1.ClockOuterClass.NowReply;
import demo.v1.ClockOuterClass.NowRequest;
import java.time.Instant;
import java.util.concurrent.TimeUnit;
import org.example.nebula.Server;

class Clock {
    static NowReply now(NowRequest request) {
        Instant time = Instant.now();
        long nanos = TimeUnit.SECONDS.toNanos(time.getEpochSecond()) + time.getNano();
        return NowReply.newBuilder().setUtc(time.toString()).setUnixNanos(nanos).build();
    }

    public static void main(String[] arguments) {
        new Server()
                .unary("demo.v1.Clock.Now", NowRequest.class, NowReply.class, (request, context) -> now(request))
                .run();
    }
}
