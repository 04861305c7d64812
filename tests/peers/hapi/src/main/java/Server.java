import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.annotation.ConditionalUrlParam;
import ca.uhn.fhir.rest.annotation.Create;
import ca.uhn.fhir.rest.annotation.IdParam;
import ca.uhn.fhir.rest.annotation.OptionalParam;
import ca.uhn.fhir.rest.annotation.Read;
import ca.uhn.fhir.rest.annotation.ResourceParam;
import ca.uhn.fhir.rest.annotation.Search;
import ca.uhn.fhir.rest.annotation.Update;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.param.TokenParam;
import ca.uhn.fhir.rest.server.IResourceProvider;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import ca.uhn.fhir.rest.server.exceptions.ResourceVersionConflictException;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.ServerConnector;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Task;

/**
 * A real FHIR R4 server for tests: HAPI's library routes, parses, answers and states what it can do; the tasks are kept in memory. It is not
 * HAPI's server with a database. Below /fhir, on a port of loopback, which it prints; it ends when its standard input does.
 */
public final class Server {
    /** What HAPI leaves to an application. */
    public static final class Tasks implements IResourceProvider {
        private final Map<String, Task> tasks = new LinkedHashMap<>();

        @Override
        public Class<Task> getResourceType() {
            return Task.class;
        }

        private MethodOutcome store(String id, int version, Task task, boolean created) {
            task.setId(new IdType("Task", id, Integer.toString(version)));
            task.getMeta().setVersionId(Integer.toString(version));
            tasks.put(id, task);
            return new MethodOutcome(task.getIdElement(), created).setResource(task);
        }

        private List<Task> having(String system, String value) {
            List<Task> found = new ArrayList<>();
            for (Task task : tasks.values()) {
                if (task.getIdentifier().stream().anyMatch(i -> system.equals(i.getSystem()) && value.equals(i.getValue()))) {
                    found.add(task);
                }
            }
            return found;
        }

        @Read
        public synchronized Task read(@IdParam IdType id) {
            Task task = tasks.get(id.getIdPart());
            if (task == null) {
                throw new ResourceNotFoundException(id);
            }
            return task;
        }

        @Create
        public synchronized MethodOutcome create(@ResourceParam Task task, @ConditionalUrlParam String condition) {
            if (condition != null) {
                String query = URLDecoder.decode(condition.substring(condition.indexOf('=') + 1), StandardCharsets.UTF_8);
                List<Task> same = having(query.substring(0, query.indexOf('|')), query.substring(query.indexOf('|') + 1));
                if (same.size() > 1) {
                    throw new PreconditionFailedException("several");
                }
                if (!same.isEmpty()) {
                    return new MethodOutcome(same.get(0).getIdElement(), false).setResource(same.get(0));
                }
            }
            return store("t" + (tasks.size() + 1), 1, task, true);
        }

        @Update
        public synchronized MethodOutcome update(@IdParam IdType id, @ResourceParam Task task) {
            Task present = tasks.get(id.getIdPart());
            int version = present == null ? 0 : Integer.parseInt(present.getMeta().getVersionId());
            // of If-Match; HAPI's own server answers a conflict with 409
            if (id.hasVersionIdPart() && id.getVersionIdPartAsLong() != version) {
                throw new ResourceVersionConflictException("version");
            }
            return store(id.getIdPart(), version + 1, task, present == null);
        }

        @Search
        public synchronized List<Task> search(@OptionalParam(name = Task.SP_IDENTIFIER) TokenParam identifier) {
            return identifier == null ? List.copyOf(tasks.values()) : having(identifier.getSystem(), identifier.getValue());
        }
    }

    public static void main(String[] arguments) throws Exception {
        RestfulServer fhir = new RestfulServer(FhirContext.forR4());
        fhir.setResourceProviders(new Tasks());
        ServletContextHandler context = new ServletContextHandler();
        context.addServlet(new ServletHolder(fhir), "/fhir/*");
        org.eclipse.jetty.server.Server jetty = new org.eclipse.jetty.server.Server(new InetSocketAddress("127.0.0.1", 0));
        jetty.setHandler(context);
        jetty.start();
        System.out.println(((ServerConnector) jetty.getConnectors()[0]).getLocalPort());
        // ends with the test, which holds the other end
        System.in.readAllBytes();
        System.exit(0);
    }
}
