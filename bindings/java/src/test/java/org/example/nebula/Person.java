// Person.java - the request of the code-first methods of the tests.
package org.example.nebula;

record Person(String name, int age) {
    Person(String name) {
        this(name, 0);
    }
}
