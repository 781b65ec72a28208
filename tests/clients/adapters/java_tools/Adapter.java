// SPDX-License-Identifier: Apache-2.0

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the console tools of Apache Kafka one after the other in one JVM. Each line [VERB, {"tool": class, "args": [...],
 * "input": text}] of the input is answered with {"code", "out", "err"} and {"exit": 0}.
 */
public final class Adapter {
	private static final ObjectMapper JSON = new ObjectMapper();
	private static final InputStream IN = System.in;
	private static final PrintStream OUT = System.out;
	private static final PrintStream ERR = System.err;

	private Adapter() {
	}

	/** An end of a tool, thrown where it would end the JVM. */
	private static final class Ended extends Error {
		private static final long serialVersionUID = 1;
	}

	/** The first code that the tool ended with: some catch what is thrown there, and then end as failed. */
	private static Integer code;

	private static void end(int with) {
		if (code == null)
			code = with;
		throw new Ended();
	}

	private static int runTool(String tool, List<String> args) throws Exception {
		Method main = Class.forName(tool).getMethod("main", String[].class);
		code = null;
		try {
			main.invoke(null, (Object)args.toArray(new String[0]));
		} catch (InvocationTargetException e) {
			if (code == null) {
				e.getCause().printStackTrace();
				return 1;
			}
		}
		return code == null ? 0 : code;
	}

	private static Map<String, Object> run(JsonNode o) throws Exception {
		List<String> args = new ArrayList<>();
		o.get("args").forEach(a -> args.add(a.asText()));
		var out = new ByteArrayOutputStream();
		var err = new ByteArrayOutputStream();
		byte[] input = o.path("input").asText().getBytes(StandardCharsets.UTF_8);
		System.setIn(new ByteArrayInputStream(input));
		System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
		System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
		try {
			int code = runTool(o.get("tool").asText(), args);
			System.out.flush();
			return Map.of("code", code, "out", out.toString(StandardCharsets.UTF_8), "err",
				err.toString(StandardCharsets.UTF_8));
		} finally {
			System.setIn(IN);
			System.setOut(OUT);
			System.setErr(ERR);
		}
	}

	private static void serve() throws IOException {
		var in = new BufferedReader(new InputStreamReader(IN, StandardCharsets.UTF_8));
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			try {
				OUT.println(JSON.writeValueAsString(run(JSON.readTree(line).get(1))));
				OUT.println("{\"exit\":0}");
			} catch (Exception e) {
				e.printStackTrace();
				OUT.println("{\"exit\":1}");
			}
		}
	}

	/** Loads the classes that all tools need. */
	private static void warm() throws Exception {
		for (String tool : List.of("TopicCommand", "consumer.ConsoleConsumer"))
			runTool("org.apache.kafka.tools." + tool, List.of("--version"));
		runTool("org.apache.kafka.tools.TopicCommand",
			List.of("--bootstrap-server", "no such host:1", "--list"));
	}

	public static void main(String[] args) throws Exception {
		Exit.setExitProcedure((with, message) -> {
			if (message != null)
				System.err.println(message);
			end(with);
		});
		Exit.setHaltProcedure((with, message) -> end(with));
		if (args[0].equals("serve"))
			serve();
		else
			warm();
		System.exit(0);
	}
}
