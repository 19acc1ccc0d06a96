// java/Hello.java - a service whose methods are lambdas: what they take and return travels as JSON.
import org.example.nebula.Server;

class Hello {
    record Person(String name) {}

    public static void main(String[] arguments) {
        new Server()
                .unary("hello.greet", Person.class, String.class, (person, context) -> "Hello " + person.name() + "!")
                .run();
    }
}
