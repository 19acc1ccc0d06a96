// java/CallClock.java - calls the clock by its name, in whatever language it is, with the classes that protoc makes.
import demo.v1.ClockOuterClass.NowReply;
import demo.v1.ClockOuterClass.NowRequest;
import org.example.nebula.Nebula;

class CallClock {
    public static void main(String[] arguments) {
        NowReply now = Nebula.call("demo.v1.Clock.Now", NowRequest.getDefaultInstance(), NowReply.class);
        System.out.println(now.getUtc());
    }
}
