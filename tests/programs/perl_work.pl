# SPDX-License-Identifier: Apache-2.0
#
# Deterministic load for perl: perl_work.pl ROUNDS. Strings that grow, hashes, sorting, regular
# expressions, closures, forked processes and, where perl has them, interpreter threads that each
# clone the whole heap. Prints a checksum for each part.

use strict;
use warnings;

my $rounds = shift or die "usage: perl_work.pl ROUNDS\n";

# A checksum in 32 bits that needs no module and sees the order of words.
sub checksum {
    my ($text) = @_;
    my $sum = 0;
    $sum = ($sum * 31 + $_) % 4294967296 for unpack 'N*', $text . "\0" x 3;
    return $sum . '/' . length $text;
}

sub strings {
    my $text = '';
    for my $i (1 .. $rounds * 200) {
        $text .= join ',', map { $_ * $i } 1 .. 20;
        $text = substr $text, -5000 if length $text > 500_000;
    }
    return checksum($text);
}

sub hashes {
    my %table;
    for my $i (1 .. $rounds * 1000) {
        my $key = ($i * 7919) % 65537;
        push @{ $table{"key$key"}{list} }, $i, "value $i";
        delete $table{ 'key' . ($i % 65537) } if $i % 3 == 0;
    }
    return checksum(join ';', map { "$_=@{ $table{$_}{list} }" } sort keys %table);
}

sub patterns {
    my @words = map { sprintf 'word%d=%x', $_, $_ * 2654435761 % 4294967296 } 1 .. $rounds * 300;
    my $text = join ' ', @words;
    my $count = () = $text =~ /(\w+)=([0-9a-f]*[a-f])\b/g;
    (my $changed = $text) =~ s/(\d+)=(\w+)/$2:$1/g;
    return $count . ' ' . checksum($changed) . ' ' . checksum(join ',', sort split / /, $changed);
}

sub closures {
    my @made;
    for my $n (1 .. $rounds * 300) {
        my @own = (1 .. $n % 50);
        push @made, sub { $n + @own + shift };
    }
    my $sum = 0;
    $sum += $_->($sum % 1000) for @made;
    return $sum;
}

sub processes {
    my $sum = 0;
    my $children = $rounds < 100 ? $rounds : 100; # each copies the page tables of a large heap
    for my $i (1 .. $children) {
        my $pid = open my $pipe, '-|';
        die "fork: $!\n" unless defined $pid;
        if (!$pid) {
            my @own = map { "child $i $_" } 1 .. 2000;
            print checksum(join '', @own);
            exit 0;
        }
        my $answer = <$pipe>;
        close $pipe or die "child failed: $?\n";
        $sum += ($answer =~ /^(\d+)/)[0];
    }
    return $sum;
}

sub interpreter_threads {
    my @ballast = map { { id => $_, text => 'x' x ($_ % 300) } } 1 .. 3000;
    my @threads;
    for my $n (1 .. 6) {
        push @threads, threads->create(sub {
            my $sum = 0;
            for my $i (1 .. $rounds) {
                my @copy = map { { %$_, twice => $_->{id} * 2 } } @ballast[0 .. 200];
                $sum += length join ',', map { "$_->{text}$_->{twice}" } @copy;
                $ballast[$i] = { id => $i, text => "changed by $n" };
            }
            return $sum;
        });
    }
    return join ',', map { $_->join } @threads;
}

print 'strings ', strings(), "\n";
print 'hashes ', hashes(), "\n";
print 'patterns ', patterns(), "\n";
print 'closures ', closures(), "\n";
print 'processes ', processes(), "\n";
if (eval { require threads; 1 }) {
    print 'threads ', interpreter_threads(), "\n" for 1 .. 3;
}
