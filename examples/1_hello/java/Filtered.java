// java/Filtered.java - a filter on each side: a service that refuses strangers, and a caller who says who it is.
import org.example.nebula.*;

class Filtered {
    public static void main(String[] arguments) {
        Filter refusing = (call, next) -> {
            if (!"secret".equals(call.metadata().get("token"))) {
                throw new NebulaException(Code.UNAUTHENTICATED, "who are you?");
            }
            return next.run();
        };
        Filter introducing = (call, next) -> {
            call.setMetadata(call.metadata().with("token", "secret"));
            return next.run();
        };
        try (Server server = new Server(new ServerOptions().filters(refusing))) {
            server.unary("guarded.greet", String.class, String.class, (name, context) -> "Hello " + name + "!").start();
            try {
                Nebula.call("guarded.greet", "Ada", String.class);
            } catch (NebulaException failure) {
                System.out.println(failure.code() + " " + failure.getMessage());
            }
            Client known = Nebula.client().withFilters(introducing);
            System.out.println(known.call("guarded.greet", "Ada", String.class));
        }
    }
}
