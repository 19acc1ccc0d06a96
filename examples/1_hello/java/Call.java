// java/Call.java - calls a service by its name, in whatever language it is.
import java.util.Map;
import org.example.nebula.Nebula;
import org.example.nebula.NebulaException;

class Call {
    public static void main(String[] arguments) {
        String greeting = Nebula.call("hello.greet", Map.of("name", "Ada"), String.class);
        System.out.println(greeting);

        try {
            Nebula.call("hello.greet", Map.of("nme", "Ada"), String.class);
        } catch (NebulaException failure) {
            System.out.println(failure.code() + " " + failure.getMessage());
        }
    }
}
