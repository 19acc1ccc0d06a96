// Method.java - the name of a method, in its two spellings.
package org.example.nebula;

/** label: as people write it, "shop.v1.Cart.Add". path: as it travels, "/shop.v1.Cart/Add". */
record Method(String label, String path) {
    /**
     * Of either spelling.
     *
     * @throws IllegalArgumentException it is neither
     */
    static Method of(String name) {
        int cut = name.startsWith("/") ? name.indexOf('/', 1) : name.lastIndexOf('.');
        int begin = name.startsWith("/") ? 1 : 0;
        if (cut <= begin || cut == name.length() - 1) {
            throw new IllegalArgumentException("\"" + name + "\" is no method: service.method, or /service/method");
        }
        String service = name.substring(begin, cut), method = name.substring(cut + 1);
        return new Method(service + "." + method, "/" + service + "/" + method);
    }

    String name() {
        return path.substring(path.lastIndexOf('/') + 1);
    }

    String service() {
        return path.substring(1, path.indexOf('/', 1));
    }
}
