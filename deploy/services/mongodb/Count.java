import de.bwaldvogel.mongo.bson.Document;
import java.util.List;

/** The aggregation by which drivers count what matches: `$match`, `$limit` where there is one, and a `$group` of all. */
final class Count {
  private Count() {}

  /** The command `count` that asks the same, or null when it is another aggregation. */
  @SuppressWarnings("unchecked")
  static Document of(Document aggregate) {
    if (!(aggregate.get("pipeline") instanceof List)) return null;
    List<Document> stages = (List<Document>) aggregate.get("pipeline");
    int last = stages.size() - 1;
    if (last < 1 || last > 2 || !stages.get(0).containsKey("$match") || !isGroupOfAll(stages.get(last))) return null;
    Document count = new Document("count", aggregate.get("aggregate")).append("query", stages.get(0).get("$match"));
    if (last == 1) return count;
    Object limit = stages.get(1).get("$limit");
    return limit instanceof Number ? count.append("limit", ((Number) limit).intValue()) : null;
  }

  private static boolean isGroupOfAll(Document stage) {
    if (!(stage.get("$group") instanceof Document)) return false;
    Document group = (Document) stage.get("$group");
    return group.size() == 2
        && group.get("_id") instanceof Number
        && group.get("n") instanceof Document
        && ((Document) group.get("n")).get("$sum") instanceof Number
        && ((Number) ((Document) group.get("n")).get("$sum")).intValue() == 1;
  }

  /** What the aggregation would have answered. */
  static Document reply(String collection, int count) {
    List<Document> batch = count == 0 ? List.of() : List.of(new Document("_id", 1).append("n", count));
    Document cursor = new Document("id", 0L).append("ns", collection).append("firstBatch", batch);
    return new Document("cursor", cursor).append("ok", 1.0);
  }
}
