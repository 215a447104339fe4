// SPDX-License-Identifier: ISC
// Spring Kafka as the other side of a call.
//
// usage: java … Peer call BROKERS REQUESTS REPLIES shared|PARTITION TIMEOUT_MS IN_FLIGHT
//            Each line of standard input is a call's payload, by a ReplyingKafkaTemplate; a line of its own on standard
//            output when it is over: "PAYLOAD -> STATUS REPLY", STATUS being the reply's header `status` or "-", or
//            "PAYLOAD -> timeout". It listens to all partitions of REPLIES, in a group, or to one.
//        java … Peer serve BROKERS REQUESTS GROUP
//            Answers each request with its payload in capitals, by @KafkaListener and @SendTo, until it is killed. A
//            payload that begins with "throw" makes it throw.
// Both print "ready" first.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Semaphore;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.kafka.annotation.EnableKafka;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.config.KafkaListenerEndpointRegistry;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;
import org.springframework.kafka.support.TopicPartitionOffset;
import org.springframework.messaging.handler.annotation.SendTo;

public class Peer {
	static final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
	static String brokers;

	static DefaultKafkaProducerFactory<String, String> producers() {
		return new DefaultKafkaProducerFactory<>(Map.of("bootstrap.servers", brokers, "acks", "all"),
				new StringSerializer(), new StringSerializer());
	}

	static DefaultKafkaConsumerFactory<String, String> consumers(String from) {
		return new DefaultKafkaConsumerFactory<>(
				Map.of("bootstrap.servers", brokers, "auto.offset.reset", from),
				new StringDeserializer(), new StringDeserializer());
	}

	static synchronized void say(String line) {
		out.println(line);
	}

	// ---- the caller ----

	static String told(ConsumerRecord<String, String> reply) {
		Header status = reply.headers().lastHeader("status");

		return (status == null ? "-" : new String(status.value(), StandardCharsets.UTF_8)) + " " + reply.value();
	}

	static void call(String requests, String replies, String place, int timeoutMs, int inFlight) throws Exception {
		ContainerProperties properties;
		if (place.equals("shared")) {
			properties = new ContainerProperties(replies);
			properties.setGroupId("spring-" + ProcessHandle.current().pid() + "-" + System.nanoTime());
		} else {
			properties = new ContainerProperties(
					new TopicPartitionOffset(replies, Integer.parseInt(place), TopicPartitionOffset.SeekPosition.END));
		}
		KafkaMessageListenerContainer<String, String> container =
				new KafkaMessageListenerContainer<>(consumers("latest"), properties);
		ReplyingKafkaTemplate<String, String, String> template = new ReplyingKafkaTemplate<>(producers(), container);
		template.setDefaultReplyTimeout(Duration.ofMillis(timeoutMs));
		template.setSharedReplyTopic(place.equals("shared"));
		template.start();
		// The group's partitions are assigned, and it knows its place in them.
		if (!template.waitForAssignment(Duration.ofSeconds(60)))
			throw new IllegalStateException("no assignment");
		Thread.sleep(1000);
		say("ready");

		Semaphore room = new Semaphore(inFlight);
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			String payload = line;
			room.acquire();
			template.sendAndReceive(new ProducerRecord<>(requests, payload)).whenComplete((reply, error) -> {
				say(payload + " -> " + (error == null ? told(reply) : "timeout"));
				room.release();
			});
		}
		room.acquire(inFlight);
		template.stop();
		template.destroy();
	}

	// ---- the service ----

	@Configuration
	@EnableKafka
	public static class Service {
		@Bean
		KafkaTemplate<String, String> replies() {
			return new KafkaTemplate<>(producers());
		}

		@Bean
		ConcurrentKafkaListenerContainerFactory<String, String> kafkaListenerContainerFactory(
				KafkaTemplate<String, String> replies) {
			ConcurrentKafkaListenerContainerFactory<String, String> factory =
					new ConcurrentKafkaListenerContainerFactory<>();
			factory.setConsumerFactory(consumers("earliest"));
			factory.setReplyTemplate(replies);
			return factory;
		}

		@Bean
		KafkaListenerEndpointRegistry registry() {
			return new KafkaListenerEndpointRegistry();
		}

		@KafkaListener(id = "upper", topics = "${requests}", groupId = "${group}", idIsGroup = false)
		@SendTo
		public String upper(String payload) {
			if (payload.startsWith("throw"))
				throw new IllegalArgumentException(payload);
			return payload.toUpperCase();
		}
	}

	static void serve(String requests, String group) throws Exception {
		System.setProperty("requests", requests);
		System.setProperty("group", group);
		AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext(Service.class);
		context.registerShutdownHook();
		say("ready");
		Thread.currentThread().join();
	}

	public static void main(String[] args) throws Exception {
		brokers = args[1];
		if (args[0].equals("serve")) {
			serve(args[2], args[3]);
			return;
		}
		call(args[2], args[3], args[4], Integer.parseInt(args[5]), Integer.parseInt(args[6]));
		System.exit(0);
	}
}
