// Metrics.java - what this process counts of its calls, and its channels and instances as they are.
package org.example.nebula;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * A report of this process: the messages of proto/nebula/v1/admin.proto. docs/metrics.md has the names. Texts that say
 * nothing are null, or "".
 *
 * @param bounds upper ones of the buckets of all histograms, in seconds; one more bucket is for what took longer
 */
public record Metrics(List<Double> bounds, List<Metric> metrics, List<ChannelState> channels) {
    /** The values of one name. */
    public record Metric(String name, String unit, List<Point> points) {}

    /** One value of a metric. histogram null: it is a number. */
    public record Point(String target, String method, String status, String node, long value, Histogram histogram) {}

    /**
     * How long things took, in seconds.
     *
     * @param buckets each alone; empty where only count and sum are kept
     */
    public record Histogram(long count, double sum, List<Long> buckets) {}

    /**
     * A channel of one port, with its instances.
     *
     * @param trouble of the registry
     * @param waiting calls that no instance has at the moment
     */
    public record ChannelState(String target, int loop, String trouble, int waiting, List<NodeState> nodes) {}

    /**
     * One instance, as a channel sees it.
     *
     * @param state "usable", or what is in the way
     * @param trouble why it could not be reached the last time
     * @param latency seconds, as the balancer sees it; 0: not known
     * @param connectTime seconds, of the last connection
     * @param description digest of its methods and their messages; null: it has said none
     */
    public record NodeState(
            String id, String address, String state, String zone, String trouble, long weight,
            @JsonProperty("in_flight") int inFlight, double latency, long picks, long attempts, long failures,
            long isolations, long ejections, @JsonProperty("connect_time") double connectTime, String description) {}

    /** As the engine writes it. */
    private record Report(Counted metrics, Listed channels) {}

    private record Counted(List<Double> bounds, List<Metric> metrics) {}

    private record Listed(List<ChannelState> channels) {}

    static CompletableFuture<Metrics> ask() {
        CompletableFuture<Metrics> answer = new CompletableFuture<>();
        Port port = Port.any();
        long tag = Port.newTag();
        port.know(tag, (from, event) -> {
            port.forget(tag);
            try {
                Report report = new JsonCodec<>(Report.class).decode(event.data(), true);
                answer.completeAsync(() -> new Metrics(
                        report.metrics.bounds, report.metrics.metrics, report.channels.channels));
            } catch (Codec.Malformed cannotBe) {
                answer.completeExceptionally(cannotBe);
            }
        });
        int result = Abi.engineMetrics(Port.engine(), port.queue, tag);
        if (result < 0) {
            port.forget(tag);
            throw Abi.refusal(result);
        }
        return answer;
    }
}
