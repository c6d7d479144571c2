import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.DatabaseResolver;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.oplog.Oplog;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;

/**
 * A server of MongoDB's protocol in one file, for development and tests. Mends three faults of the one it is made of: that
 * announces a version which drivers refuse, writes its file once a second, so that a kill loses acknowledged writes, and reads
 * a whole collection for whatever asks for more than one key, or for some in order.
 */
public class Mongo {
  private static final Set<String> WRITES =
      Set.of(
          "insert", "update", "delete", "findAndModify", "findandmodify",
          "createIndexes", "create", "drop", "dropIndexes", "dropDatabase");

  private static final Document COUNT = new Document("$group", new Document("_id", 1).append("n", new Document("$sum", 1)));

  /** Commits the store before the reply leaves, so that an acknowledged write survives kill -9. */
  private static class Durable extends H2Backend {
    Durable(MVStore store) {
      super(store);
    }

    @Override
    protected MongoDatabase openOrCreateDatabase(String name) {
      return new Database(name, getMvStore(), getCursorRegistry());
    }

    @Override
    public Document handleMessage(MongoMessage message) {
      Document reply = super.handleMessage(message);
      if (WRITES.contains(message.getDocument().keySet().iterator().next())) getMvStore().commit();
      return reply;
    }

    /**
     * Finds and counts by ranges of `_id`, and by the fields that have an index, without reading all. An inner class, as it
     * opens its collections before its own fields are set.
     */
    private class Database extends H2Database {
      Database(String name, MVStore store, CursorRegistry cursors) {
        super(name, store, cursors);
      }

      @Override
      protected MongoCollection<Object> openOrCreateCollection(String name, CollectionOptions options) {
        String full = getFullCollectionNamespace(name);
        MVMap<Object, Document> documents = getMvStore().openMap("databases." + full);
        MVMap<String, Object> meta = getMvStore().openMap("meta." + full);
        MongoCollection<Object> collection = new OrderedCollection(this, name, options, documents, meta, cursorRegistry);
        collection.addIndex(new OrderedIndex("_id ranges", "_id"));
        return collection;
      }

      @Override
      protected Index<Object> openOrCreateUniqueIndex(String collection, String name, List<IndexKey> keys, boolean sparse) {
        return new UniqueIndex(name, keys, sparse);
      }

      @Override
      protected Index<Object> openOrCreateSecondaryIndex(String collection, String name, List<IndexKey> keys, boolean sparse) {
        if (keys.size() > 1) return super.openOrCreateSecondaryIndex(collection, name, keys, sparse);
        return new OrderedIndex(name, keys.get(0).getKey());
      }

      @Override
      public Document handleCommand(Channel channel, String command, Document asked, DatabaseResolver databases, Oplog oplog) {
        if (command.equals("aggregate") && asked.get("pipeline") instanceof List) {
          List<?> pipeline = (List<?>) asked.get("pipeline");
          if (pipeline.size() == 3 && COUNT.equals(pipeline.get(2))) return counted((String) asked.get(command), pipeline);
        }
        return super.handleCommand(channel, command, asked, databases, oplog);
      }

      /** What drivers make of a count: match, limit, group. As a pipeline it would read the whole collection. */
      private Document counted(String name, List<?> pipeline) {
        MongoCollection<Object> collection = resolveCollection(name, false);
        Document match = (Document) ((Document) pipeline.get(0)).get("$match");
        int limit = ((Number) ((Document) pipeline.get(1)).get("$limit")).intValue();
        int count = collection == null ? 0 : count(collection, match, limit);
        List<Document> batch = count == 0 ? List.of() : List.of(new Document("_id", 1).append("n", count));
        Document cursor = new Document("id", 0L).append("ns", getDatabaseName() + "." + name).append("firstBatch", batch);
        return new Document("cursor", cursor).append("ok", 1.0);
      }

      /** Alone, as everything else that reads a collection. */
      private int count(MongoCollection<Object> collection, Document match, int limit) {
        synchronized (collection) {
          return collection.count(match, 0, limit);
        }
      }
    }
  }

  /** Speaks TLS only, with a certificate and its key of an elliptic curve, both in PEM form. */
  private static void withTls(MongoServer server, Path certificate, Path key) throws Exception {
    String base64 = Files.readString(key).replaceAll("-----[^-]*-----|\\s", "");
    PKCS8EncodedKeySpec encoded = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(base64));
    PrivateKey secret = KeyFactory.getInstance("EC").generatePrivate(encoded);
    try (InputStream file = Files.newInputStream(certificate)) {
      CertificateFactory factory = CertificateFactory.getInstance("X.509");
      server.enableSsl(secret, null, (X509Certificate) factory.generateCertificate(file));
    }
  }

  /** Arguments: port, file, and for TLS the files of a certificate and its key. */
  public static void main(String[] arguments) throws Exception {
    MVStore store = new MVStore.Builder().fileName(arguments[1]).cacheSize(512).open();
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
    if (arguments.length > 2) withTls(server, Path.of(arguments[2]), Path.of(arguments[3]));
    server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    System.out.println("listening on " + server.getLocalAddress());
  }
}
