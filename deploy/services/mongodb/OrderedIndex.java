import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.bson.BsonRegularExpression;
import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * Finds documents by one field: equal to a value, one of several, or within a range. It is in memory, and made again from the
 * documents when its collection is opened. What it finds is still held against the whole query, so it may find too much.
 */
class OrderedIndex extends Index<Object> {
  private static final Set<String> OPERATORS = Set.of("$eq", "$in", "$gt", "$gte", "$lt", "$lte");
  private static final Comparator<Object> ORDER = ValueComparator.ascWithoutListHandling();

  private final String field;
  private final NavigableMap<Object, Set<Object>> positions = new TreeMap<>(ORDER);

  OrderedIndex(String name, String field) {
    super(name, List.of(new IndexKey(field, true)), true);
    this.field = field;
  }

  @Override
  public synchronized boolean canHandle(Document query) {
    if (!query.containsKey(field)) return false;
    Object wanted = query.get(field);
    if (wanted instanceof Document) {
      Document operators = (Document) wanted;
      if (operators.isEmpty() || !OPERATORS.containsAll(operators.keySet())) return false;
      return operators.values().stream().allMatch(OrderedIndex::isPlain);
    }
    return !(wanted instanceof Collection) && isPlain(wanted);
  }

  /** Whether documents without the field, or with one that matches a pattern, are surely not meant. */
  private static boolean isPlain(Object value) {
    if (value instanceof Collection) return ((Collection<?>) value).stream().allMatch(OrderedIndex::isPlain);
    return value != null && !(value instanceof Document) && !(value instanceof BsonRegularExpression);
  }

  /** As they are looked at: who wants only some does not pay for all. */
  @Override
  public Iterable<Object> getPositions(Document query) {
    Object wanted = query.get(field);
    return () -> sets(wanted).flatMap(Set::stream).distinct().iterator();
  }

  private Stream<Set<Object>> sets(Object wanted) {
    if (!(wanted instanceof Document)) return Stream.of(positions.getOrDefault(wanted, Set.of()));
    Document operators = (Document) wanted;
    if (operators.containsKey("$in")) {
      return ((Collection<?>) operators.get("$in")).stream().map(one -> positions.getOrDefault(one, Set.of()));
    }
    return range(operators).values().stream();
  }

  /** Its bounds included, whatever the operators say of them. */
  private Map<Object, Set<Object>> range(Document operators) {
    Object from = first(operators, "$eq", "$gte", "$gt");
    Object to = first(operators, "$eq", "$lte", "$lt");
    if (from != null && to != null && ORDER.compare(from, to) > 0) return Map.of();
    NavigableMap<Object, Set<Object>> range = from == null ? positions : positions.tailMap(from, true);
    return to == null ? range : range.headMap(to, true);
  }

  private static Object first(Document operators, String... names) {
    return Stream.of(names).map(operators::get).filter(Objects::nonNull).findFirst().orElse(null);
  }

  @Override
  public synchronized void add(Document document, Object position, MongoCollection<Object> collection) {
    for (Object value : values(document)) positions.computeIfAbsent(value, any -> new TreeSet<>(ORDER)).add(position);
  }

  @Override
  public synchronized Object remove(Document document) {
    Object position = document.get("_id");
    for (Object value : values(document)) {
      positions.computeIfPresent(value, (any, held) -> held.remove(position) && held.isEmpty() ? null : held);
    }
    return null;
  }

  @Override
  public synchronized void updateInPlace(Document old, Document now, Object position, MongoCollection<Object> collection) {
    remove(old);
    add(now, position, collection);
  }

  /** All of them where the field is a list. */
  private List<Object> values(Document document) {
    Object value = Utils.getSubdocumentValue(document, field);
    Collection<?> all = value instanceof Collection ? (Collection<?>) value : value == null ? List.of() : List.of(value);
    List<Object> plain = new ArrayList<>(all);
    plain.removeIf(one -> !isPlain(one));
    return plain;
  }

  @Override
  public void checkAdd(Document document, MongoCollection<Object> collection) {}

  @Override
  public void checkUpdate(Document old, Document now, MongoCollection<Object> collection) {}

  @Override
  public Object getPosition(Document document) {
    return null;
  }

  @Override
  public synchronized long getCount() {
    return positions.values().stream().mapToLong(Set::size).sum();
  }

  @Override
  public long getDataSize() {
    return 0;
  }

  @Override
  public synchronized void drop() {
    positions.clear();
  }
}
