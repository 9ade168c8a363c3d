// SPDX-License-Identifier: Apache-2.0
//
// Deterministic load for a Java machine: java Threaded ROUNDS. The heap of objects is Java's own;
// malloc serves direct buffers, deflaters, the compiler threads, class loading and the threads
// themselves, so that is what this does, with threads that come and go. Prints a checksum for each
// wave of threads.

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

public final class Threaded {
    private static final int WAVES = 8;
    private static final int THREADS = 8;

    private Threaded() {}

    private static long deflateAndBack(byte[] data) throws Exception {
        Deflater deflater = new Deflater(6);
        deflater.setInput(data);
        deflater.finish();
        byte[] packed = new byte[data.length + 100];
        int size = deflater.deflate(packed);
        deflater.end();
        Inflater inflater = new Inflater();
        inflater.setInput(packed, 0, size);
        byte[] back = new byte[data.length];
        int length = inflater.inflate(back);
        inflater.end();
        if (length != data.length) {
            throw new IllegalStateException("inflated " + length + " bytes of " + data.length);
        }
        CRC32 crc = new CRC32();
        crc.update(back);
        return crc.getValue();
    }

    private static long work(int seed, int rounds) throws Exception {
        Random random = new Random(seed);
        long sum = 0;
        List<ByteBuffer> kept = new ArrayList<>();
        for (int round = 0; round < rounds; round++) {
            ByteBuffer direct = ByteBuffer.allocateDirect(1 + random.nextInt(60000));
            while (direct.remaining() >= 4) {
                direct.putInt(random.nextInt(1000));
            }
            kept.add(direct);
            if (kept.size() > 20) {
                kept.remove(random.nextInt(kept.size()));
            }
            byte[] data = new byte[direct.position()];
            direct.flip();
            direct.get(data);
            sum = sum * 31 + deflateAndBack(data);
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < 200; i++) {
                text.append(Integer.toString(random.nextInt(), 36)).append(';');
            }
            sum = sum * 31 + text.toString().hashCode();
        }
        return sum;
    }

    public static void main(String[] args) throws Exception {
        int rounds = Integer.parseInt(args[0]);
        for (int wave = 0; wave < WAVES; wave++) {
            ExecutorService pool = Executors.newFixedThreadPool(THREADS);
            List<Future<Long>> results = new ArrayList<>();
            for (int i = 0; i < THREADS * 2; i++) {
                final int seed = wave * 100 + i;
                Callable<Long> task = () -> work(seed, rounds);
                results.add(pool.submit(task));
            }
            long sum = 0;
            for (Future<Long> result : results) {
                sum = sum * 31 + result.get();
            }
            pool.shutdown();
            System.out.println("wave " + wave + " " + sum);
        }
    }
}
