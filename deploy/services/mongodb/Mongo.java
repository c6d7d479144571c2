import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVStore;

/**
 * A server of MongoDB's protocol in one file, for development and tests. Mends two faults of the one it is made of: that
 * announces a version which drivers refuse, and writes its file once a second, so that a kill loses acknowledged writes.
 */
public class Mongo {
  private static final Set<String> WRITES =
      Set.of(
          "insert", "update", "delete", "findAndModify", "findandmodify",
          "createIndexes", "create", "drop", "dropIndexes", "dropDatabase");

  /** Commits the store before the reply leaves, so that an acknowledged write survives kill -9. */
  private static class Durable extends H2Backend {
    Durable(MVStore store) {
      super(store);
    }

    @Override
    public Document handleMessage(MongoMessage message) {
      Document reply = super.handleMessage(message);
      if (WRITES.contains(message.getDocument().keySet().iterator().next())) getMvStore().commit();
      return reply;
    }
  }

  /** Arguments: port, file. */
  public static void main(String[] arguments) {
    MVStore store = new MVStore.Builder().fileName(arguments[1]).cacheSize(128).open();
    store.setRetentionTime(0); // reuse freed chunks at once, or the file grows by its own size with every few writes
    H2Backend backend = new Durable(store);
    backend.version(
        new MongoVersion() {
          public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
          }

          public int getWireVersion() {
            return 13;
          }
        });
    MongoServer server = new MongoServer(backend);
    server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    System.out.println("listening on " + server.getLocalAddress());
  }
}
