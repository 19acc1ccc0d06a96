import nebula

app = nebula.Service("hello")


@app.rpc
def greet(name: str = "world") -> str:
    return f"Hello {name}!"


app.run()
