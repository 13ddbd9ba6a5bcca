// Every feature of learning curves: one thread reads one curve.
//
// The enumeration of features (F_train_first, ...) is put in front of this text from the table of
// features, so that each column has one number everywhere. Formulas and their order of operations
// are those of _numpy.py: compiled without fused multiply-adds, only the sums of the late slope
// may differ from it, in the last bits.
//
// What is read, for n evaluations:
//   once         everything that a running state of constant size can give (scan_curve)
//   n/2 a round  losses again for the median behind `noise`: 7 rounds on average at n = 100
//   n/3, 3 times losses again for the late slope, its level first
//   once         losses again for what is measured against noise and range (spikes, plateau, drops)
// The curves behind a thread block lie next to each other in a time-major layout, so that every
// read is one full transaction, and the later ones mostly come from the cache.

typedef long long i64;
typedef unsigned long long u64;

#define SERIES(name) (F_train_##name - F_train_n_finite)

namespace {

__device__ const double NORMAL_MEDIAN = 0.6744897502;
__device__ const double MISSING_SHARE = 0.3;
__device__ const double SPIKE_NOISE = 6.0, SPIKE_RANGE = 0.1;
__device__ const double DROP_NOISE = 5.0, DROP_RANGE = 0.05, DROP_SPEED = 4.0;
__device__ const double PLATEAU_RANGE = 0.02, PLATEAU_NOISE = 2.0;
__device__ const double LARGEST = 1.7976931348623157e308;
__device__ const int LONG_CURVE = 20, MEDIUM_CURVE = 9, WIDEST = 5;

__device__ double nan_value() { return __longlong_as_double(0x7ff8000000000000LL); }
__device__ double infinity() { return __longlong_as_double(0x7ff0000000000000LL); }
__device__ bool is_finite(double x) { return fabs(x) <= LARGEST; }
__device__ bool is_infinite(double x) { return fabs(x) > LARGEST; }
__device__ double nan_to_num(double x) { return x == x ? (x > LARGEST ? LARGEST : x) : 0.0; }
__device__ i64 least(i64 a, i64 b) { return a < b ? a : b; }
__device__ i64 most(i64 a, i64 b) { return a > b ? a : b; }
// Unlike fmax, which passes over NaN.
__device__ double nan_max(double a, double b) { return (a != a || a > b) ? a : b; }

__device__ int window_of(i64 count) {
  return count >= LONG_CURVE ? 5 : (count >= MEDIUM_CURVE ? 3 : 1);
}

// One row of a strided array; absent quantities have no data and read as NaN.
template <class Real>
struct Column {
  const Real* data;
  i64 step;
  __device__ double operator[](i64 i) const {
    return data ? static_cast<double>(data[i * step]) : nan_value();
  }
};

// The last values, newest first, and their trailing mean.
struct Recent {
  double x[WIDEST] = {};
  double t[3] = {};

  __device__ void push(double value, double epoch) {
    for (int k = WIDEST - 1; k > 0; --k) x[k] = x[k - 1];
    x[0] = value;
    t[2] = t[1];
    t[1] = t[0];
    t[0] = epoch;
  }
  __device__ double mean(i64 count, int window) const {
    const i64 n = least(count, window);
    double total = x[0];
    for (int k = 1; k < WIDEST; ++k) {
      if (k < n) total += x[k];
    }
    return total / static_cast<double>(n);
  }
  // Indices known to the compiler keep the values in registers.
  __device__ double centre(i64 count, int window) const {
    const i64 k = (least(count, window) - 1) / 2;
    return k == 0 ? t[0] : (k == 1 ? t[1] : t[2]);
  }
};

// Which values were finite; what that means is said by write_finiteness.
struct Finiteness {
  i64 count = 0, first = -1, last = -1, first_bad = -1, gap = 0, longest_gap = 0;
  bool has_infinity = false;

  __device__ bool add(double x, i64 place) {
    if (!is_finite(x)) {
      has_infinity = has_infinity || is_infinite(x);
      if (first >= 0) {
        ++gap;
        if (first_bad < 0) first_bad = place;
      }
      return false;
    }
    if (first < 0) first = place;
    longest_gap = most(longest_gap, gap);
    gap = 0;
    last = place;
    ++count;
    return true;
  }
};

// Running state of one series.
struct Scan {
  int window;
  Finiteness finite;
  Recent recent;
  double first, second, last, first_epoch, last_epoch;
  double min, min_epoch, max, max_epoch;
  double smooth, smooth_min, smooth_min_epoch, peak;
  double last_step = 0.0;
  i64 n_sign_changes = 0;

  __device__ explicit Scan(int w) : window(w) {
    first = second = last = first_epoch = last_epoch = nan_value();
    min = min_epoch = max = max_epoch = nan_value();
    smooth = smooth_min = smooth_min_epoch = peak = nan_value();
  }

  __device__ i64 count() const { return finite.count; }

  // Takes one more value; tells whether its moving mean is the lowest so far.
  __device__ bool add(double x, double t, i64 place) {
    if (!finite.add(x, place)) return false;
    const bool is_first = count() == 1;
    if (is_first) {
      first = x;
      first_epoch = t;
    } else {
      if (count() == 2) second = x;
      const double step = x - last;
      n_sign_changes += (step > 0 && last_step < 0) || (step < 0 && last_step > 0);
      last_step = step;
    }
    last = x;
    last_epoch = t;
    if (is_first || x < min) {
      min = x;
      min_epoch = t;
    }
    if (is_first || x > max) {
      max = x;
      max_epoch = t;
    }
    recent.push(x, t);
    smooth = recent.mean(count(), window);
    if (!is_first && !(smooth < smooth_min)) {
      peak = nan_max(peak, smooth);
      return false;
    }
    smooth_min = peak = smooth;
    smooth_min_epoch = recent.centre(count(), window);
    return true;
  }

  __device__ double tail_min() const {
    if (count() == 0) return nan_value();
    double lowest = recent.x[0];
    for (int k = 1; k < WIDEST; ++k) {
      if (k < least(count(), window) && recent.x[k] < lowest) lowest = recent.x[k];
    }
    return lowest;
  }
};

// The finite values of a series again, from the k-th on.
template <class Real>
struct Cursor {
  Column<Real> values;
  Column<double> epochs;
  i64 place;
  double x, t;

  __device__ Cursor(Column<Real> v, Column<double> e, const Scan& scan, i64 k)
      : values(v), epochs(e), place(most(scan.finite.first, 0)), x(0.0), t(0.0) {
    const bool is_gapless = scan.finite.last - scan.finite.first + 1 == scan.count();
    if (is_gapless) {
      place += k;
    } else {
      for (i64 i = 0; i < k; ++i) next();
    }
  }
  __device__ void next() {
    do {
      x = values[place];
      ++place;
    } while (!is_finite(x));
    t = epochs[place - 1];
  }
};

struct Row {
  double* out;
  i64 n_curves;
  __device__ void set(int feature, double value) const { out[feature * n_curves] = value; }
};

__device__ void write_finiteness(const Row& row, const Finiteness& f, i64 length,
                                 Column<double> epochs) {
  const i64 reach = f.last - f.first + 1;
  const i64 n_missing = f.count > 0 ? reach - f.count : 0;
  const i64 tail = f.count > 0 ? length - 1 - f.last : length;
  const bool is_sparse =
      !f.has_infinity && n_missing >= MISSING_SHARE * reach && f.count > 1;
  const bool is_explained = is_sparse && tail <= f.longest_gap;
  const bool is_absent = f.count == 0 && !f.has_infinity;
  const bool is_unfinished = !(is_explained || is_absent);
  i64 n_bad = 0, first_bad = -1;
  if (is_unfinished) {
    n_bad = tail + (is_sparse ? 0 : n_missing);
    first_bad = f.count == 0 ? 0 : (is_sparse ? f.last + 1 : f.first_bad);
  }
  row.set(SERIES(n_finite), f.count);
  row.set(SERIES(n_nonfinite), n_bad);
  row.set(SERIES(first_nonfinite_epoch), n_bad > 0 ? epochs[first_bad] : nan_value());
  row.set(SERIES(ends_finite), is_absent ? nan_value() : (tail == 0 || is_explained));
}

// Calls visit with |value - line between its neighbours| over the second half of the series.
template <class Real, class Visit>
__device__ void each_residual(Column<Real> values, Column<double> epochs, const Scan& scan,
                              Visit visit) {
  const i64 start = most(1, scan.count() / 2);
  if (start > scan.count() - 2) return;
  Cursor<Real> cursor(values, epochs, scan, start - 1);
  cursor.next();
  double x0 = cursor.x, t0 = cursor.t;
  cursor.next();
  double x1 = cursor.x, t1 = cursor.t;
  for (i64 i = start; i <= scan.count() - 2; ++i) {
    cursor.next();
    const double weight = (t1 - t0) / (cursor.t - t0), other = 1.0 - weight;
    double residual = x1 - other * x0 - weight * cursor.x;
    residual /= sqrt(1.0 + other * other + weight * weight);
    if (is_finite(residual)) visit(fabs(residual));
    x0 = x1, t0 = t1, x1 = cursor.x, t1 = cursor.t;
  }
}

__device__ u64 bits(double x) { return static_cast<u64>(__double_as_longlong(x)); }

// The median by bisection: the bits of positive numbers are ordered as the numbers are. Both ends
// move to values that occur, so that few rounds are needed, and no memory.
template <class Real>
__device__ double noise_of(Column<Real> values, Column<double> epochs, const Scan& scan) {
  i64 n = 0;
  double low = infinity(), high = 0.0;
  each_residual(values, epochs, scan, [&](double r) {
    ++n;
    low = fmin(low, r);
    high = fmax(high, r);
  });
  if (n == 0) return nan_value();
  const i64 lower = (n + 1) / 2 - 1, upper = n / 2;
  double upper_value = infinity();
  while (bits(low) < bits(high)) {
    const u64 middle = bits(low) + (bits(high) - bits(low) + 1) / 2;
    const double pivot = __longlong_as_double(static_cast<i64>(middle));
    i64 n_below = 0;
    double below = 0.0, above = infinity();
    each_residual(values, epochs, scan, [&](double r) {
      if (r < pivot) {
        ++n_below;
        below = fmax(below, r);
      } else {
        above = fmin(above, r);
      }
    });
    if (n_below <= lower) {
      low = above;
    } else {
      high = below;
    }
    if (n_below == upper) {
      low = high = n_below <= lower ? above : below;
      upper_value = above;
      break;
    }
  }
  if (upper > lower && !is_finite(upper_value)) {
    i64 n_up_to = 0;
    each_residual(values, epochs, scan, [&](double r) {
      if (r <= low) {
        ++n_up_to;
      } else {
        upper_value = fmin(upper_value, r);
      }
    });
    if (n_up_to > upper) upper_value = low;
  }
  const double median = 0.5 * (low + (upper > lower ? upper_value : low));
  return median / NORMAL_MEDIAN;
}

// The line through the last third.
template <class Real>
__device__ void write_late_slope(const Row& row, Column<Real> values, Column<double> epochs,
                                 const Scan& scan) {
  const i64 count = scan.count();
  const i64 n_used = most((count + 2) / 3, least(count, 5)), start = count - n_used;
  double level = 0.0, centre = 0.0, size = 0.0, first = nan_value(), first_epoch = nan_value();
  Cursor<Real> cursor(values, epochs, scan, start);
  const Cursor<Real> origin = cursor;
  for (i64 i = 0; i < n_used; ++i) {
    cursor.next();
    if (i == 0) {
      first = cursor.x;
      first_epoch = cursor.t;
    }
    level += cursor.x;
    size = fmax(size, fabs(cursor.x));
    centre += cursor.t;
  }
  level /= static_cast<double>(n_used);
  centre /= static_cast<double>(n_used);
  double squares = 0.0, products = 0.0, misfits = 0.0;
  cursor = origin;
  for (i64 i = 0; i < n_used; ++i) {
    cursor.next();
    squares += (cursor.t - centre) * (cursor.t - centre);
    products += (cursor.t - centre) * (cursor.x - level);
  }
  const double slope = products / squares;
  // A power of two changes no digit and keeps the squares of huge and tiny losses in range.
  int exponent = 0;
  frexp(size, &exponent);
  cursor = origin;
  for (i64 i = 0; i < n_used; ++i) {
    cursor.next();
    const double misfit =
        ldexp((cursor.x - level) - slope * (cursor.t - centre), -exponent);
    misfits += misfit * misfit;
  }
  const double variance = misfits / static_cast<double>(most(n_used - 2, 1));
  const double deviation = ldexp(sqrt(variance / squares), exponent);
  const double error = n_used >= 3 ? deviation : nan_value();
  const double span = scan.last_epoch - first_epoch;
  row.set(SERIES(late_first), first);
  row.set(SERIES(late_first_epoch), first_epoch);
  row.set(SERIES(late_change), slope * span);
  row.set(SERIES(late_change_se), error * span);
  row.set(SERIES(late_slope), slope * span / fabs(level));
  row.set(SERIES(late_slope_se), error * span / fabs(level));
}

// What is measured against noise and range, which are known only now.
template <class Real>
__device__ void write_shape(const Row& row, Column<Real> values, Column<double> epochs,
                            const Scan& scan, double raw_noise, double span) {
  const double noise = nan_to_num(raw_noise);
  const double spike = fmax(SPIKE_NOISE * noise, SPIKE_RANGE * span);
  const double drop = fmax(DROP_NOISE * noise, DROP_RANGE * span);
  const double flat =
      fmax(PLATEAU_RANGE * span, PLATEAU_NOISE * noise / sqrt(static_cast<double>(scan.window)));
  i64 n_spikes = 0, n_recovered = 0, n_drops = 0, last_off = -1;
  bool was_high = false;
  double smooth = 0.0;
  Recent recent;
  Cursor<Real> cursor(values, epochs, scan, 0);
  for (i64 i = 0; i < scan.count(); ++i) {
    cursor.next();
    if (i > 0) {
      const double jump = cursor.x - smooth;
      const bool is_high = jump > spike && jump > 0;
      if (is_high && !was_high) {
        ++n_spikes;
        n_recovered += scan.smooth <= smooth + 0.5 * jump;
      }
      was_high = is_high;
    }
    if (i >= WIDEST) {
      const double fall = recent.x[0] - cursor.x;
      const double speed = fabs(recent.x[WIDEST - 1] - recent.x[0]) / 4;
      n_drops += fall > drop && fall > DROP_SPEED * speed;
    }
    recent.push(cursor.x, cursor.t);
    smooth = recent.mean(i + 1, scan.window);
    if (fabs(smooth - scan.smooth) > flat) last_off = i;
  }
  row.set(SERIES(spikes), n_spikes);
  row.set(SERIES(spikes_recovered), n_recovered);
  row.set(SERIES(plateau), scan.count() - 1 - last_off);
  row.set(SERIES(drops), n_drops);
}

template <class Real>
__device__ void write_series(const Row& row, Column<Real> values, Column<double> epochs,
                             const Scan& scan, i64 length) {
  write_finiteness(row, scan.finite, length, epochs);
  const double noise = noise_of(values, epochs, scan);
  const double span = nan_max(scan.first, scan.smooth) - scan.smooth_min;
  const double rise = scan.smooth - scan.smooth_min;
  const i64 count = scan.count();
  row.set(SERIES(first), scan.first);
  row.set(SERIES(last), scan.last);
  row.set(SERIES(last_epoch), scan.last_epoch);
  row.set(SERIES(min), scan.min);
  row.set(SERIES(min_epoch), scan.min_epoch);
  row.set(SERIES(max), scan.max);
  row.set(SERIES(smooth_last), scan.smooth);
  row.set(SERIES(smooth_min), scan.smooth_min);
  row.set(SERIES(smooth_min_epoch), scan.smooth_min_epoch);
  row.set(SERIES(smooth_min_position), (scan.smooth_min_epoch - scan.first_epoch) /
                                           (scan.last_epoch - scan.first_epoch));
  row.set(SERIES(tail_min), scan.tail_min());
  row.set(SERIES(rise), rise / fabs(scan.smooth_min));
  row.set(SERIES(rise_range), rise > 0 ? rise / span : (count > 0 ? 0.0 : nan_value()));
  row.set(SERIES(rise_z), rise / (noise * sqrt(2.0 / scan.window)));
  row.set(SERIES(later_fall), (scan.second - scan.smooth_min) / fabs(scan.second));
  row.set(SERIES(noise), noise);
  row.set(SERIES(noise_level), noise / fabs(scan.smooth));
  row.set(SERIES(noise_range), noise / span);
  row.set(SERIES(sign_changes), count > 2 ? scan.n_sign_changes / static_cast<double>(count - 2)
                                          : nan_value());
  write_late_slope(row, values, epochs, scan);
  write_shape(row, values, epochs, scan, noise, span);
}

// What is known of the pair and the metric at the end of the first reading.
struct PairScan {
  double train_at_best, metric_at_best;
  i64 n_pairs = 0, n_below = 0;
  __device__ PairScan() : train_at_best(nan_value()), metric_at_best(nan_value()) {}
};

template <class Real>
__device__ void scan_curve(Column<double> epochs, Column<Real> train, Column<Real> val,
                           Column<Real> metric, i64 length, Scan& train_scan, Scan& val_scan,
                           Scan& metric_scan, PairScan& pair) {
  for (i64 i = 0; i < length; ++i) {
    const double t = epochs[i], x = train[i], y = val[i];
    train_scan.add(x, t, i);
    metric_scan.add(metric[i], t, i);
    if (val_scan.add(y, t, i)) {
      pair.train_at_best = train_scan.smooth;
      pair.metric_at_best = metric_scan.smooth;
    }
    const double difference = x - y;
    if (i > 0 && is_finite(difference)) {
      ++pair.n_pairs;
      pair.n_below += difference > 0;
    }
  }
}

__device__ void write_pair(const Row& row, const Scan& train, const Scan& val,
                           const PairScan& pair) {
  const double gap = val.smooth - train.smooth;
  const double gap_at_best = val.smooth_min - pair.train_at_best;
  const double regained = val.peak > val.smooth_min
                              ? (val.peak - val.smooth) / (val.peak - val.smooth_min)
                              : 0.0;
  row.set(F_gap_last, gap);
  row.set(F_gap_at_val_min, gap_at_best);
  row.set(F_gap_growth, gap - gap_at_best);
  row.set(F_gap_ratio, gap / fabs(train.smooth));
  row.set(F_train_at_val_min, pair.train_at_best);
  row.set(F_train_change, (train.smooth - pair.train_at_best) / fabs(pair.train_at_best));
  row.set(F_val_regained, val.count() > 0 ? regained : nan_value());
  row.set(F_val_below_train, pair.n_pairs > 0
                                 ? pair.n_below / static_cast<double>(pair.n_pairs)
                                 : nan_value());
}

__device__ void write_metric(const Row& row, const Scan& metric, const PairScan& pair) {
  row.set(F_metric_first, metric.first);
  row.set(F_metric_last, metric.smooth);
  row.set(F_metric_min, metric.min);
  row.set(F_metric_min_epoch, metric.min_epoch);
  row.set(F_metric_max, metric.max);
  row.set(F_metric_max_epoch, metric.max_epoch);
  row.set(F_metric_at_val_min, pair.metric_at_best);
}

__device__ bool has_right_window(const Scan& scan) {
  return scan.count() == 0 || scan.window == window_of(scan.count());
}

template <class Real>
__device__ void write_curve(const Row& row, Column<double> epochs, Column<Real> train,
                            Column<Real> val, Column<Real> metric, i64 length) {
  // Windows follow from the number of finite values, which is taken to be the length; where it
  // turns out to be less and asks for others, the curve is read once more.
  const int window = window_of(length);
  Scan train_scan(window), val_scan(window), metric_scan(window);
  PairScan pair;
  scan_curve(epochs, train, val, metric, length, train_scan, val_scan, metric_scan, pair);
  if (!has_right_window(train_scan) || !has_right_window(val_scan) ||
      !has_right_window(metric_scan)) {
    train_scan = Scan(window_of(train_scan.count()));
    val_scan = Scan(window_of(val_scan.count()));
    metric_scan = Scan(window_of(metric_scan.count()));
    pair = PairScan();
    scan_curve(epochs, train, val, metric, length, train_scan, val_scan, metric_scan, pair);
  }
  row.set(F_n_evaluations, length);
  row.set(F_first_epoch, length > 0 ? epochs[0] : nan_value());
  row.set(F_last_epoch, length > 0 ? epochs[length - 1] : nan_value());
  const Row train_row = {row.out + F_train_n_finite * row.n_curves, row.n_curves};
  const Row val_row = {row.out + F_val_n_finite * row.n_curves, row.n_curves};
  write_series(train_row, train, epochs, train_scan, length);
  write_series(val_row, val, epochs, val_scan, length);
  write_pair(row, train_scan, val_scan, pair);
  write_metric(row, metric_scan, pair);
}

template <class Real>
__device__ Column<Real> column(const Real* data, i64 row_step, i64 step, i64 curve) {
  const Column<Real> result = {data ? data + curve * row_step : data, step};
  return result;
}

}  // namespace

// Steps count elements: curve i at evaluation j is data[i * row_step + j * step]. Without `val`,
// `metric` or `lengths` (null) there is no such quantity, or all curves have n_points. `out` has
// one row of n_curves values per feature.
#define CURVE_FEATURES(NAME, REAL)                                                              \
  extern "C" __global__ void NAME(                                                              \
      const double* epochs, i64 epochs_row, i64 epochs_step, const REAL* train, i64 train_row,  \
      i64 train_step, const REAL* val, i64 val_row, i64 val_step, const REAL* metric,           \
      i64 metric_row, i64 metric_step, const i64* lengths, i64 n_points, i64 n_curves,          \
      double* out) {                                                                            \
    const i64 stride = static_cast<i64>(gridDim.x) * blockDim.x;                                \
    i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;                            \
    for (; i < n_curves; i += stride) {                                                         \
      const Row row = {out + i, n_curves};                                                      \
      write_curve(row, column(epochs, epochs_row, epochs_step, i),                              \
                  column(train, train_row, train_step, i), column(val, val_row, val_step, i),   \
                  column(metric, metric_row, metric_step, i),                                   \
                  lengths ? most(0, least(lengths[i], n_points)) : n_points);                   \
    }                                                                                           \
  }

CURVE_FEATURES(curve_features_f32, float)
CURVE_FEATURES(curve_features_f64, double)
