// SPDX-License-Identifier: ISC
// A ReplyingKafkaTemplate that keeps IN_FLIGHT calls on their way and measures those behind the first WARM, within its
// process; prints one JSON object, as peers/calls does. Compiled with the jars and classes of tests/spring/fetch.
//
// usage: java … Calls BROKERS REQUESTS REPLIES shared|PARTITION WARM COUNT IN_FLIGHT

import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;
import org.springframework.kafka.support.TopicPartitionOffset;

public class Calls {
	static double cpu() {
		return ((com.sun.management.OperatingSystemMXBean)
				java.lang.management.ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
	}

	public static void main(String[] args) throws Exception {
		String requests = args[1], replies = args[2], place = args[3];
		int warm = Integer.parseInt(args[4]), total = warm + Integer.parseInt(args[5]);
		Semaphore room = new Semaphore(Integer.parseInt(args[6]));
		ContainerProperties properties;

		Peer.brokers = args[0];
		if (place.equals("shared")) {
			properties = new ContainerProperties(replies);
			properties.setGroupId("spring-" + System.nanoTime());
		} else {
			properties = new ContainerProperties(new TopicPartitionOffset(
					replies, Integer.parseInt(place), TopicPartitionOffset.SeekPosition.END));
		}
		ReplyingKafkaTemplate<String, String, String> template = new ReplyingKafkaTemplate<>(Peer.producers(),
				new KafkaMessageListenerContainer<>(Peer.consumers("latest"), properties));
		template.setDefaultReplyTimeout(Duration.ofMinutes(1));
		template.setSharedReplyTopic(place.equals("shared"));
		template.start();
		if (!template.waitForAssignment(Duration.ofSeconds(60)))
			throw new IllegalStateException("no assignment");
		Thread.sleep(1000);

		long[] latency = new long[total];
		AtomicInteger done = new AtomicInteger(), wrong = new AtomicInteger();
		CountDownLatch over = new CountDownLatch(total);
		long[] begun = {System.nanoTime()};
		double[] cpu = {cpu()};
		for (int i = 0; i < total; i++) {
			int n = i;
			String payload = String.format("call-%015d", n);

			room.acquire();
			long at = System.nanoTime();
			template.sendAndReceive(new ProducerRecord<>(requests, payload)).whenComplete((reply, error) -> {
				latency[n] = System.nanoTime() - at;
				if (error != null || !reply.value().equalsIgnoreCase(payload))
					wrong.incrementAndGet();
				if (done.incrementAndGet() == warm) {
					begun[0] = System.nanoTime();
					cpu[0] = cpu();
				}
				room.release();
				over.countDown();
			});
		}
		over.await();
		double seconds = (System.nanoTime() - begun[0]) / 1e9, used = cpu() - cpu[0];
		long[] counted = Arrays.copyOfRange(latency, warm, total);
		Arrays.sort(counted);
		System.out.printf("{\"count\":%d,\"crossed\":%d,\"seconds\":%f,\"p50_ms\":%f,\"p99_ms\":%f,\"cpu_s\":%f}%n",
				counted.length - wrong.get(), wrong.get(), seconds, counted[(counted.length - 1) / 2] / 1e6,
				counted[(int) ((counted.length - 1) * 0.99)] / 1e6, used);
		template.stop();
		template.destroy();
		System.exit(0);
	}
}
