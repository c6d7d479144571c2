import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVMap;

/**
 * Reads no more documents than asked for where some are wanted in the order of their ids: the latest 50 messages of a group
 * cost the same however many it has. The collection it is made of reads and sorts all that match before it takes the first.
 */
class OrderedCollection extends H2Collection {
  private static final Set<String> BY_ID = Set.of("_id");

  OrderedCollection(
      MongoDatabase database,
      String name,
      CollectionOptions options,
      MVMap<Object, Document> documents,
      MVMap<String, Object> meta,
      CursorRegistry cursors) {
    super(database, name, options, documents, meta, cursors);
  }

  /** Ids are what positions are. */
  @Override
  protected QueryResult matchDocuments(
      Document query, Iterable<Object> positions, Document order, int skip, int limit, int batch, Document fields) {
    if (limit <= 0 || order == null || !order.keySet().equals(BY_ID)) {
      return super.matchDocuments(query, positions, order, skip, limit, batch, fields);
    }
    boolean rises = ((Number) order.get("_id")).intValue() > 0;
    List<Object> ordered = new ArrayList<>();
    positions.forEach(ordered::add);
    ordered.sort(rises ? ValueComparator.asc() : ValueComparator.desc());
    return super.matchDocuments(query, ordered, null, skip, limit, batch, fields);
  }
}
