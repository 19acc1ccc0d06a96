//! main.rs - bench.Echo on tonic, on one thread as it is pinned to one core.
//!
//! usage: tonic_peer serve                                        prints its address; until it is killed
//!        tonic_peer load <address> <payload bytes> <connections> <in flight on each> <seconds>     one line of JSON
use std::time::{Duration, Instant};
use tokio_stream::{wrappers::TcpListenerStream, Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

mod bench {
    tonic::include_proto!("bench");
}
use bench::{echo_client::EchoClient, echo_server, Value};

struct Echo;

#[tonic::async_trait]
impl echo_server::Echo for Echo {
    async fn unary(&self, request: Request<Value>) -> Result<Response<Value>, Status> {
        Ok(Response::new(Value { value: request.get_ref().value.clone() }))
    }

    type StreamStream = std::pin::Pin<Box<dyn Stream<Item = Result<Value, Status>> + Send>>;
    async fn stream(&self, request: Request<Streaming<Value>>) -> Result<Response<Self::StreamStream>, Status> {
        Ok(Response::new(Box::pin(request.into_inner().map(|message| message.map(|v| Value { value: v.value.clone() })))))
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn serve() -> Result<(), Error> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(echo_server::EchoServer::new(Echo))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

async fn load(address: &str, size: usize, connections: usize, in_flight: usize, seconds: f64) -> Result<(), Error> {
    let warm = Instant::now() + Duration::from_secs_f64(seconds * 0.1);
    let end = warm + Duration::from_secs_f64(seconds);
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let client = EchoClient::connect(format!("http://{address}")).await?;
        for _ in 0..in_flight {
            let mut client = client.clone();
            tasks.push(tokio::spawn(async move {
                let mut mine = Vec::new();
                let mut began = Instant::now();
                while began < end {
                    let answer = client.unary(Value { value: vec![0; size] }).await?;
                    assert_eq!(answer.get_ref().value.len(), size);
                    let now = Instant::now();
                    if began >= warm {
                        mine.push((now - began).as_secs_f64() * 1e6);
                    }
                    began = now;
                }
                Ok::<_, Status>(mine)
            }));
        }
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let took = warm.elapsed().as_secs_f64();
    all.sort_by(f64::total_cmp);
    println!(
        "{{\"count\": {}, \"seconds\": {:.4}, \"p50_us\": {:.1}, \"p99_us\": {:.1}}}",
        all.len(), took, all[all.len() / 2], all[all.len() * 99 / 100]
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["serve"] => serve().await,
        ["load", address, size, connections, in_flight, seconds] => {
            load(address, size.parse()?, connections.parse()?, in_flight.parse()?, seconds.parse()?).await
        }
        _ => Err("usage: see the head of main.rs".into()),
    }
}
